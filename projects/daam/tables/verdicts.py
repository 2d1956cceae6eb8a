"""Whether an order holds, told from intervals and not from means."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from tables.intervals import Difference, paired_difference
from tables.scores import (
    Scores,
    against,
    best_baseline,
    by_seed,
    difference_text,
    row_of,
)


def verdict(
    difference: Difference | None, equal: bool = False, least: float = 0.0
) -> str:
    """What an interval says about ``first is better than second``.

    Args:
        difference: of first and second.
        equal: whether the claim is that they do not differ.
        least: how much better the first is wanted to be.
    """
    if difference is None:
        return 'not measured'
    if difference.low is None or difference.high is None:
        return 'not decided: one seed has no interval'
    differs = difference.low > 0 or difference.high < 0
    if equal:
        return 'does not hold' if differs else 'no difference is shown either'
    if difference.high < 0:
        return 'reversed'
    if difference.low <= 0:
        return 'not shown: the interval holds 0'
    if least and difference.mean < least:
        return f'holds, but by less than {least:g}'
    if least and difference.low < least:
        return (
            f'holds; {least:g} or more in the mean, the interval begins '
            'below that'
        )
    return f'holds, by {least:g} or more' if least else 'holds'


def sentences(
    suite: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """One sentence for each order that is in question.

    Args:
        suite: a suite's JSON.
        found: all suites by key, of which fig6 takes the baselines.
    """
    if suite['suite'] == 'fig5':
        return list(_rounds(suite))
    if suite['suite'] == 'fig6':
        return list(_clusters(suite, found.get('baselines')))
    if suite['suite'] == 'choices':
        return list(_choices(suite))
    return [_claim(suite, claim) for claim in suite['claims']]


def _claim(suite: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    pairs = claim.get('over') or ()
    keys = claim['better'], claim['worse']
    first, second = (_title(suite, key, pairs) for key in keys)
    where = _on(pairs)
    measured = [pair for pair in pairs if by_seed(suite, keys, [pair])]
    if len(measured) < len(pairs):
        said = f'{len(measured)} of {len(pairs)} pairs'
        return f'{first} and {second}{where}: **not measured**: {said}.'
    if claim.get('share'):
        values = by_seed(suite, keys, pairs)
        what = f'{first} as a part of {second}{where}'
        return _share(what, values, claim['share'])
    difference = against(suite, *keys, pairs)
    said = verdict(difference, claim['equal'], claim['least'])
    relation = 'as good as' if claim['equal'] else 'over'
    return (
        f'{first} {relation} {second}{where}: **{said}** '
        f'({difference_text(difference)} mAP{_source(suite, claim)}).'
    )


def _source(suite: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    """Whose claim it is, in a suite that has some of the paper's."""
    if claim['paper']:
        values = ' and '.join(f'{value:+.1f}' for value in claim['paper'])
        return f'; the paper: {values}'
    papers = any(other['paper'] for other in suite['claims'])
    return '; not a claim of the paper' if papers else ''


def _on(pairs: Sequence[str]) -> str:
    if not pairs:
        return ''
    few = len(pairs) <= 6
    return f' on {", ".join(pairs) if few else f"{len(pairs)} pairs"}'


def _title(suite: Mapping[str, Any], key: str, pairs: Sequence[str]) -> str:
    """Of a row, or of a method on some pairs."""
    if not pairs:
        return row_of(suite, key)['title']
    return row_of(suite, f'{pairs[0]}_{key}')['title'].rpartition(': ')[2]


def _share(
    what: str, values: Mapping[int, list[tuple[float, ...]]], wanted: float
) -> str:
    """How much of the other's mAP a row reaches, in the mean."""
    parts = {
        seed: [first / second for first, second in of]
        for seed, of in values.items()
        if all(second for _, second in of)
    }
    means = {seed: fmean(of) for seed, of in parts.items()}
    found = paired_difference(means, dict.fromkeys(means, 0.0))
    asked = f'{wanted:.2f} wanted'
    if found is None:
        return f'{what}: **not measured** ({asked}).'
    said = 'reached' if found.mean >= wanted else 'not reached'
    if found.low is None:
        said += ', by one seed'
    elif found.low < wanted <= found.mean:
        said += ' in the mean, the interval begins below that'
    interval = ''
    if found.low is not None:
        interval = f' [{found.low:.3f}, {found.high:.3f}]'
    # Of the pairs, or of the seeds of a single one.
    of_pairs = [fmean(of) for of in zip(*parts.values(), strict=True)]
    least = min(of_pairs if len(of_pairs) > 1 else means.values())
    return (
        f'{what}: **{said}** ({found.mean:.3f}{interval}, least '
        f'{least:.3f}; {asked}).'
    )


def _rounds(suite: Mapping[str, Any]) -> Iterator[str]:
    """Each round against the one before; the paper settles after 5."""
    runs = [r for r in suite['rows'][0]['runs'] if r['status'] == 'done']
    values: dict[int, dict[int, float]] = {}
    for run in runs:
        for entry in run['rounds']:
            by_seed = values.setdefault(entry['round'], {})
            by_seed[run['seed']] = entry['mAP']
    for number in sorted(values)[1:]:
        difference = paired_difference(values[number], values[number - 1])
        before = 'AdaBN' if number == 1 else f'round {number - 1}'
        yield (
            f'Round {number} over {before}: **{verdict(difference)}** '
            f'({difference_text(difference)} mAP; the paper: rising in early '
            'rounds, settled after 5).'
        )


def _clusters(
    suite: Mapping[str, Any], baselines: Mapping[str, Any] | None
) -> Iterator[str]:
    best = best_baseline(baselines, list(suite['seeds']))
    if best is None:
        yield 'No results of a baseline on these seeds: K stands by itself.'
    for row in suite['rows']:
        if best is not None:
            difference = paired_difference(Scores(row, 'mAP').values, best[1])
            yield (
                f'{row["title"]} over the best baseline, {best[0]}: '
                f'**{verdict(difference)}** ({difference_text(difference)} '
                'mAP; the paper: above ARN at every K).'
            )
    yield from _choices(suite)


def _choices(suite: Mapping[str, Any]) -> Iterator[str]:
    keys = {row['key'] for row in suite['rows']}
    for row in suite['rows']:
        if row['reference'] not in keys or row['reference'] == row['key']:
            continue
        title = row_of(suite, row['reference'])['title']
        difference = against(suite, row['key'], row['reference'])
        if difference is None:
            said = 'not measured'
        elif difference.low is None or difference.high is None:
            said = 'not decided: one seed has no interval'
        elif difference.low > 0:
            said = 'better'
        else:
            said = 'worse' if difference.high < 0 else 'no difference shown'
        yield (
            f'{row["title"]} against {title}: **{said}** '
            f'({difference_text(difference)} mAP).'
        )

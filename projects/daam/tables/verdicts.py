"""Whether an order holds, told from intervals and not from means."""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from tables.intervals import Difference, paired_difference
from tables.markdown import spread


class Scores:
    """A row's values of one score by seed, finished runs only.

    Args:
        row: as in a suite's JSON.
        name: of the score.
    """

    def __init__(self, row: Mapping[str, Any], name: str) -> None:
        self.values: dict[int, float] = {
            run['seed']: run['scores'][name]
            for run in row['runs']
            if run['status'] == 'done'
        }


def row_of(suite: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A row of a suite's JSON by its key."""
    return next(row for row in suite['rows'] if row['key'] == key)


def against(
    suite: Mapping[str, Any], first: str, second: str
) -> Difference | None:
    """Paired difference in mAP of two rows of a suite."""
    return paired_difference(
        Scores(row_of(suite, first), 'mAP').values,
        Scores(row_of(suite, second), 'mAP').values,
    )


def score_text(scores: Scores) -> str:
    """Mean and spread over seeds, a dash where nothing was finished."""
    return spread(list(scores.values.values())) if scores.values else '–'


def difference_text(difference: Difference | None) -> str:
    """``+1.2 [+0.3, +2.1]``, without brackets for one seed."""
    if difference is None:
        return '–'
    if difference.low is None:
        return f'{difference.mean:+.1f} (one seed)'
    low, high = difference.low, difference.high
    return f'{difference.mean:+.1f} [{low:+.1f}, {high:+.1f}]'


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


def paired_values(
    suite: Mapping[str, Any], claim: Mapping[str, Any]
) -> tuple[dict[Any, float], dict[Any, float]]:
    """mAP of a claim's rows by seed, or by pair as means over seeds."""

    def values(key: str) -> dict[int, float]:
        return Scores(row_of(suite, key), 'mAP').values

    keys = claim['better'], claim['worse']
    if not claim.get('over'):
        first, second = map(values, keys)
        return first, second
    found: tuple[dict[Any, float], dict[Any, float]] = ({}, {})
    for pair in claim['over']:
        both = [values(f'{pair}_{key}') for key in keys]
        seeds = set(both[0]) & set(both[1])
        for means, one in zip(found, both, strict=True):
            if seeds:
                means[pair] = fmean(one[seed] for seed in sorted(seeds))
    return found


def _claim(suite: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    prefix, where = '', ''
    if claim.get('over'):
        prefix = f'{claim["over"][0]}_'
        where = f', over {len(claim["over"])} pairs'
    first, second = (
        row_of(suite, prefix + claim[name])['title'].rpartition(': ')[2]
        if prefix
        else row_of(suite, claim[name])['title']
        for name in ('better', 'worse')
    )
    values = paired_values(suite, claim)
    if claim.get('over') and len(values[0]) < len(claim['over']):
        measured = f'{len(values[0])} of {len(claim["over"])} pairs'
        return f'{first} and {second}: **not measured**: {measured}.'
    if claim.get('share'):
        return _share(f'{first} as a part of {second}{where}', values, claim)
    difference = paired_difference(*values)
    said = verdict(difference, claim['equal'], claim['least'])
    relation = 'as good as' if claim['equal'] else 'over'
    source = 'not a claim of the paper'
    if claim['paper']:
        values = ' and '.join(f'{value:+.1f}' for value in claim['paper'])
        source = f'the paper: {values}'
    return (
        f'{first} {relation} {second}{where}: **{said}** '
        f'({difference_text(difference)} mAP; {source}).'
    )


def _share(
    what: str,
    values: tuple[Mapping[Any, float], Mapping[Any, float]],
    claim: Mapping[str, Any],
) -> str:
    """How much of the other's mAP a row reaches, in the mean."""
    first, second = values
    parts = {k: first[k] / second[k] for k in first if second.get(k)}
    found = paired_difference(parts, dict.fromkeys(parts, 0.0))
    wanted = f'{claim["share"]:.2f} wanted'
    if found is None:
        return f'{what}: **not measured** ({wanted}).'
    said = 'reached' if found.mean >= claim['share'] else 'not reached'
    if found.low is None:
        said += ', by one seed'
    elif found.low < claim['share'] <= found.mean:
        said += ' in the mean, the interval begins below that'
    spread = ''
    if found.low is not None:
        spread = f' [{found.low:.3f}, {found.high:.3f}]'
    least = min(parts.values())
    return (
        f'{what}: **{said}** ({found.mean:.3f}{spread}, least {least:.3f}; '
        f'{wanted}).'
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


def best_baseline(
    baselines: Mapping[str, Any] | None, seeds: list[int]
) -> tuple[str, dict[int, float]] | None:
    """The best row without true labels beside the full model.

    Args:
        baselines: that suite's JSON.
        seeds: those over which the means are taken; rows that lack one of
            them do not take part.

    Returns:
        Its title, and its mAP by seed.
    """
    best = None
    for row in baselines['rows'] if baselines else ():
        if row['key'] == 'full' or any(r['true_labels'] for r in row['runs']):
            continue
        values = Scores(row, 'mAP').values
        if not seeds or not set(seeds) <= set(values):
            continue
        chosen = {seed: values[seed] for seed in seeds}
        if best is None or sum(chosen.values()) > sum(best[1].values()):
            best = (row['title'], chosen)
    return best


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

"""Tables of the suite `own`, from its JSON."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tables.intervals import mean_sd
from tables.markdown import head, line
from tables.own import FACTORS, SEARCH_PAIRS
from tables.scores import Scores, row_of
from tables.unlabelled import WISHED, selection_quality

HEAD = (
    *('run', 'seed', 'rounds', 'best mAP', 'regret', 'regret of last'),
    *('Spearman', 'false accepts', 'false rejects'),
)


def selection_table(suite: Mapping[str, Any]) -> str:
    """A line per run that was selected, and the means of each kind."""
    kinds: dict[str, list[tuple[float, ...]]] = {}
    rates: list[float] = []
    lines = head(HEAD)
    for row in suite['rows']:
        for run in row['runs']:
            scores = run.get('selection') or {}
            pairs = [
                (scores[str(entry['round'])], entry['mAP'])
                for entry in run['rounds']
                if str(entry['round']) in scores
            ]
            if run['status'] != 'done' or len(pairs) < 2:
                continue
            values = selection_quality(*map(list, zip(*pairs, strict=True)))
            kind = 'other'
            if row['key'].endswith('_declines'):
                kind = 'declining'
            kinds.setdefault(kind, []).append(values)
            best = max(value for _, value in pairs)
            cells = [row['title'], str(run['seed']), str(len(pairs))]
            cells += [f'{value:.1f}' for value in (best, *values[:2])]
            cells.append(f'{values[2]:.2f}')
            real = run.get('threshold')
            cells += ['–', '–']
            if real:
                rates.append(real['false_accepts'])
                cells[-2:] = [
                    f'{real["false_accepts"]:.2%}',
                    f'{real["false_rejects"]:.1%}',
                ]
            lines.append(line(cells))
    if not kinds:
        return ''
    every = [values for found in kinds.values() for values in found]
    for kind, found in [*sorted(kinds.items()), ('all', every)]:
        means = [fmean(column) for column in zip(*found, strict=True)]
        cells = [f'**mean of {len(found)} {kind} runs**', '', '', '']
        cells += [f'{means[0]:.2f}', f'{means[1]:.2f}', f'{means[2]:.2f}']
        lines.append(line([*cells, '', '']))
    return '\n'.join(lines) + '\n\n' + _conclusions(every, rates)


def _conclusions(
    found: Sequence[tuple[float, ...]], rates: Sequence[float]
) -> str:
    regret, last, rho = (fmean(column) for column in zip(*found, strict=True))
    lines = [
        f'Mean regret {regret:.2f} mAP, of the last round {last:.2f}: '
        f'**{_reached(regret < 2 and regret < last)}** (under 2 and below '
        'that of the last round).',
        f"Spearman's rank correlation {rho:.2f} in the mean: "
        f'**{_reached(rho >= 0.5)}** (0.5).',
    ]
    if rates:
        within = [WISHED / 2 <= rate <= 2 * WISHED for rate in rates]
        mean, sd = mean_sd(rates)
        lines.append(
            f'Real false accepts at a wished {WISHED:.0%}: {mean:.2%}'
            + (f' ± {sd:.2%}' if sd is not None else '')
            + f' over {len(rates)} runs, {sum(within)} of them within a '
            f'factor of 2: **{_reached(all(within))}** (all).'
        )
    return '\n'.join(f'- {line}' for line in lines)


def search_table(suite: Mapping[str, Any]) -> str:
    """K found by itself against the best of the swept ones, by pair."""
    names = [f'{factor:g} times' for factor in FACTORS]
    lines = head(('pair', 'K found', *names, 'loss to the best'))
    losses, known = [], {row['key'] for row in suite['rows']}
    for pair in SEARCH_PAIRS:
        keys = [f'{pair}_auto', *(f'{pair}_k{f:g}' for f in FACTORS)]
        if not known.issuperset(keys):
            continue
        values = [Scores(row_of(suite, key), 'mAP').values for key in keys]
        seeds = sorted(set.intersection(*map(set, values)))
        if not seeds:
            continue
        auto, *swept = ([one[s] for s in seeds] for one in values)
        best = max(swept, key=fmean)
        loss = [b - a for a, b in zip(auto, best, strict=True)]
        losses.append(fmean(loss))
        cells = [pair, *(f'{fmean(one):.1f}' for one in (auto, *swept))]
        mean, sd = mean_sd(loss)
        spread = '' if sd is None else f' ± {sd:.1f}'
        lines.append(line([*cells, f'{mean:.1f}{spread}']))
    if not losses:
        return ''
    mean = fmean(losses)
    said = (
        f'- Mean loss of the K that was found against the best fixed one of '
        f'each pair: {mean:.1f} mAP: **{_reached(mean <= 3)}** (at most 3).'
    )
    return '\n'.join(lines) + '\n\n' + said


def _reached(reached: bool) -> str:
    return 'reached' if reached else 'not reached'

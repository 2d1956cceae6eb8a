"""How well runs were selected without labels: ``selection.py RUN ...``.

Each RUN is the folder of a finished run with ``train.select health`` on a
target that has identities: they are read here, after the run. For each run
the regret in mAP of the selected round and of the last one, against the best
round, and the rank correlation of score and mAP; then their means.
"""

import argparse
import json
import statistics
from pathlib import Path

from scipy.stats import spearmanr


def read(folder: Path) -> tuple[list[float], list[float]]:
    """Scores and mAP of a run's rounds, in order."""
    lines = (folder / 'rounds.jsonl').read_text(encoding='utf-8').splitlines()
    scores = {r['round']: r.get('score') for r in map(json.loads, lines)}
    if None in scores.values() or len(scores) < 2:
        raise SystemExit(f'{folder}: no run with train.select health')
    text = (folder / 'results.json').read_text(encoding='utf-8')
    maps: dict[int, list[float]] = {}
    for row in json.loads(text)['rows']:
        if row['stage'] == 'round':
            maps.setdefault(row['round'], []).append(row['mAP'])
    rounds = sorted(scores)
    return (
        [scores[r] for r in rounds],
        [statistics.mean(maps[r]) for r in rounds],
    )


def measures(scores: list[float], maps: list[float]) -> list[float]:
    """Regret of the chosen and of the last round, and Spearman's rho."""
    chosen = max(range(len(scores)), key=lambda i: (scores[i], i))
    rho = float(spearmanr(scores, maps).statistic)
    return [max(maps) - maps[chosen], max(maps) - maps[-1], rho]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('runs', type=Path, nargs='+', metavar='RUN')
    args = parser.parse_args()
    print('| run | rounds | best mAP | regret | regret of last | Spearman |')
    print('|---|---|---|---|---|---|')
    found = []
    for folder in args.runs:
        scores, maps = read(folder)
        found.append(measures(scores, maps))
        cells = ' | '.join(f'{value:.2f}' for value in found[-1])
        print(f'| {folder} | {len(maps)} | {max(maps):.2f} | {cells} |')
    means = [statistics.mean(column) for column in zip(*found, strict=True)]
    print('| mean | | | ' + ' | '.join(f'{m:.2f}' for m in means) + ' |')


if __name__ == '__main__':
    main()

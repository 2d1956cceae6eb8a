"""What CMC and mAP cost, ours against torchreid's.

Distances, identities and cameras are drawn at the size of Market-1501's
test. The evaluators run in turn on the same arrays in one process; each has
to give the same bits as torchreid's Python form. Printed are seconds, the
median of the repeats' ratios, and by how much the memory of the process
peaks over what it was before the call.

    python benchmarks/evaluation.py [--repeats 2] [--size market]
"""

import argparse
import functools
import statistics
from collections.abc import Callable

import numpy as np
import torchreid
from measuring import measured, where

from torchreid_daam.evaluation.ranks import evaluate_rank

# Queries, gallery, identities, cameras of the test set.
SIZES = {
    'market': (3368, 19732, 750, 6),
    'small': (300, 2000, 80, 6),
}
# Market's gallery: about a seventh are distractors and junk of no identity.
DISTRACTORS = 0.15


def drawn(size: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Distances and lists; a person's images are a little closer."""
    queries, gallery, people, cameras = SIZES[size]
    generator = np.random.default_rng(seed)
    q_pids = generator.integers(1, people + 1, queries)
    g_pids = generator.integers(1, people + 1, gallery)
    g_pids[generator.random(gallery) < DISTRACTORS] = 0
    distances = generator.random((queries, gallery), dtype=np.float32)
    for row, pid in zip(distances, q_pids, strict=True):
        row[g_pids == pid] *= 0.5
    return (
        distances,
        q_pids,
        g_pids,
        generator.integers(0, cameras, queries),
        generator.integers(0, cameras, gallery),
    )


def evaluators() -> dict[str, Callable]:
    """By name; Cython's only where this torchreid has it."""
    theirs = torchreid.metrics.evaluate_rank
    found = {
        'ours': evaluate_rank,
        'torchreid, Python': functools.partial(theirs, use_cython=False),
    }
    if torchreid.metrics.rank.IS_CYTHON_AVAI:
        found['torchreid, Cython'] = functools.partial(theirs, use_cython=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeats', type=int, default=2)
    parser.add_argument('--size', choices=SIZES, default='market')
    args = parser.parse_args()
    queries, gallery, *_ = SIZES[args.size]
    print(where())
    print(f'{queries} queries x {gallery} gallery images, in turn')
    case, chosen = drawn(args.size), evaluators()
    results = {name: [] for name in chosen}
    for repeat in range(args.repeats):
        names = list(chosen)
        for name in names[::-1] if repeat % 2 else names:
            results[name].append(
                measured(functools.partial(chosen[name], *case))
            )
    if 'torchreid, Cython' not in chosen:
        print('torchreid, Cython: not in this build of torchreid')
    reference = results['torchreid, Python'][0].value
    for name, runs in results.items():
        cmc, mean_ap = runs[0].value
        equal = (
            cmc.tobytes() == reference[0].tobytes() and mean_ap == reference[1]
        )
        ratios = sorted(
            run.seconds / ours.seconds
            for run, ours in zip(runs, results['ours'], strict=True)
        )
        print(
            f'{name:18s} {statistics.median(r.seconds for r in runs):7.2f} s  '
            f'{max(r.peak for r in runs):7.1f} MB  '
            f'{statistics.median(ratios):6.1f} times ours '
            f'({ratios[0]:.1f} to {ratios[-1]:.1f})  '
            f'{"same bits" if equal else "OTHER BITS"}'
        )


if __name__ == '__main__':
    main()

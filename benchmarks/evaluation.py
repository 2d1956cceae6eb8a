"""What CMC and mAP cost, ours against torchreid's.

Distances, identities and cameras are drawn at the size of Market-1501's
test. The evaluators run in turn on the same arrays in one process; each has
to give the same bits as torchreid's Python form. Printed are seconds, the
median of the repeats' ratios, and by how much the memory of the process
peaks over what it was before the call. Then the same from features: ours
with distances in blocks, as the engine does, against one table of them.

    python benchmarks/evaluation.py [--repeats 2] [--size market]
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torchreid
from measuring import compared, in_turn, where

from torchreid_daam.evaluation.distances import BlockedDistances
from torchreid_daam.evaluation.ranks import evaluate_rank

# Queries, gallery, identities, cameras of the test set.
SIZES = {
    'market': (3368, 19732, 750, 6),
    'small': (300, 2000, 80, 6),
}
# Market's gallery: about a seventh are distractors and junk of no identity.
DISTRACTORS = 0.15
DIM = 256


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
        'torchreid, Python': partial(theirs, use_cython=False),
    }
    if torchreid.metrics.rank.IS_CYTHON_AVAI:
        found['torchreid, Cython'] = partial(theirs, use_cython=True)
    return found


def from_features(case: tuple[np.ndarray, ...], size: str) -> dict:
    """Calls that begin at features, with and without a table."""
    queries, gallery, *_ = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    q, g = (
        torch.randn(number, DIM, generator=generator)
        for number in (queries, gallery)
    )
    lists = case[1:]

    def table() -> object:
        found = torchreid.metrics.compute_distance_matrix(q, g)
        return evaluate_rank(found.numpy(), *lists)

    def blocks() -> object:
        return evaluate_rank(BlockedDistances(q, g, 'euclidean'), *lists)

    return {'in blocks': blocks, 'one table': table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeats', type=int, default=2)
    parser.add_argument('--size', choices=SIZES, default='market')
    args = parser.parse_args()
    queries, gallery, *_ = SIZES[args.size]
    print(where())
    print(f'{queries} queries x {gallery} gallery images, in turn')
    case, chosen = drawn(args.size), evaluators()
    results = in_turn(
        {name: partial(call, *case) for name, call in chosen.items()},
        args.repeats,
    )
    if 'torchreid, Cython' not in chosen:
        print('torchreid, Cython: not in this build of torchreid')
    reference = results['torchreid, Python'][0].value
    for name, runs in results.items():
        cmc, mean_ap = runs[0].value
        equal = (
            cmc.tobytes() == reference[0].tobytes() and mean_ap == reference[1]
        )
        print(
            f'{name:18s} {compared(runs, results["ours"])}  '
            f'{"same bits" if equal else "OTHER BITS"}'
        )

    results = in_turn(from_features(case, args.size), args.repeats)
    own = results['in blocks']
    print(f'from features of {DIM} numbers')
    for name, runs in results.items():
        close = abs(runs[0].value[1] - own[0].value[1]) < 1e-9
        told = 'same mAP' if close else 'OTHER mAP'
        print(f'{name:18s} {compared(runs, own)}  {told}')


if __name__ == '__main__':
    main()

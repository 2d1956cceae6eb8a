"""What DBSCAN on the Jaccard distance costs, ours against the dense form.

The dense form is the k-reciprocal algorithm as clustering codes have it:
(N, N) tables of encodings and of distances, and scikit-learn's DBSCAN on
the last. Both run in turn on the same drawn features in one process.
Printed are seconds, the median of the repeats' ratios, and by how much the
memory of the process peaks over what it was before the call. Above
``--dense-up-to`` images ours runs alone.

    python benchmarks/clustering.py [--images 10000] [--repeats 3]
"""

import argparse
from functools import partial

import numpy as np
import torch
from measuring import compared, in_turn, where
from sklearn.cluster import DBSCAN

from torchreid_daam.recipe.dbscan import DBSCANLabeller
from torchreid_daam.recipe.jaccard import predicted_memory

EPS, MIN_SAMPLES, K1, K2 = 0.6, 4, 30, 6
SIZE, PER_PERSON, SPREAD = 256, 20, 0.08


def drawn(images: int, seed: int = 0) -> np.ndarray:
    """Unit vectors (N, D), about 20 around each of N / 20 directions."""
    generator = np.random.default_rng(seed)
    people = max(2, images // PER_PERSON)
    centers = generator.normal(size=(people, SIZE)) / SIZE**0.5
    person = generator.integers(0, people, images)
    features = np.empty((images, SIZE), dtype=np.float32)
    for start in range(0, images, 4096):
        part = centers[person[start : start + 4096]]
        part = part + SPREAD * generator.normal(size=part.shape)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        features[start : start + 4096] = part
    return features


def ours(features: np.ndarray) -> np.ndarray:
    """Labels (N,) of the labeller."""
    labeller = DBSCANLabeller(EPS, MIN_SAMPLES, K1, K2)
    generator = np.random.default_rng(0)
    return labeller(features, None, None, generator).labels


def dense(features: np.ndarray) -> np.ndarray:
    """Labels (N,) from full tables, row by row."""
    table = dense_distances(torch.from_numpy(features))
    dbscan = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric='precomputed')
    return dbscan.fit(table).labels_


def dense_distances(f: torch.Tensor) -> np.ndarray:
    """Jaccard distances (N, N) float32 of unit vectors."""
    n = len(f)
    # The search is blocked here too: codes leave it to a library.
    ranks = np.concatenate(
        [(part @ f.T).topk(K1).indices.numpy() for part in f.split(256)]
    )

    def reciprocal(i: int, k: int) -> np.ndarray:
        near = ranks[i, :k]
        return near[(ranks[near, :k] == i).any(axis=1)]

    wide = [reciprocal(i, K1) for i in range(n)]
    narrow = [reciprocal(i, round(K1 / 2)) for i in range(n)]
    encoded = np.zeros((n, n), dtype=np.float32)
    for i in range(n):
        members = [wide[i]]
        for c in wide[i]:
            common = np.intersect1d(narrow[c], wide[i])
            if 3 * len(common) > 2 * len(narrow[c]):
                members.append(narrow[c])
        joined = np.unique(np.concatenate(members))
        gaps = 2 - 2 * (f[joined] @ f[i])
        encoded[i, joined] = torch.softmax(-gaps, dim=0).numpy()
    averaged = np.empty_like(encoded)
    for i in range(n):
        averaged[i] = encoded[ranks[i, :K2]].mean(axis=0)
    del encoded
    having = [np.flatnonzero(averaged[:, k]) for k in range(n)]
    distances = np.empty((n, n), dtype=np.float32)
    for i in range(n):
        shared = np.zeros(n, dtype=np.float32)
        for k in np.flatnonzero(averaged[i]):
            who = having[k]
            shared[who] += np.minimum(averaged[i, k], averaged[who, k])
        distances[i] = 1 - shared / (2 - shared)
    return np.maximum(distances, 0, out=distances)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, nargs='+', default=[10_000])
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--dense-up-to', type=int, default=10_000)
    args = parser.parse_args()
    print(where(), flush=True)
    # What libraries load when they are first called is no one's memory.
    ours(drawn(200)), dense(drawn(200))
    for images in args.images:
        measure(images, args.repeats, images <= args.dense_up_to)


def measure(images: int, repeats: int, with_dense: bool) -> None:
    """Prints the lines of one number of images."""
    features = drawn(images)
    forms = {'ours': ours} | ({'dense': dense} if with_dense else {})
    results = in_turn(
        {name: partial(call, features) for name, call in forms.items()},
        repeats,
    )
    labels = results['ours'][0].value
    print(
        f'{images} images x {SIZE}: {labels.max() + 1} clusters, '
        f'{(labels < 0).sum()} outliers; predicted '
        f'{1000 * predicted_memory(images, SIZE, K1, K2):.0f} MB'
    )
    for name, runs in results.items():
        same = all(np.array_equal(run.value, labels) for run in runs)
        print(
            f'{name:6s} {compared(runs, results["ours"])}  '
            f'{"equal labels" if same else "OTHER LABELS"}',
            flush=True,
        )


if __name__ == '__main__':
    main()

"""What k-means costs, ours against scikit-learn's and by mini-batches.

Ours is scikit-learn's k-means++ on one thread, which repeats, then labels
from the final centres and Eq. 9. The reference is scikit-learn's ``KMeans``
with its own labels on as many threads as it takes. All run in turn on the
same drawn features in one process; the order of the ratios is that of the
repeats.

    python benchmarks/kmeans.py [--images 200000] [--clusters 2000]
"""

import argparse
from functools import partial

import numpy as np
from clustering import SIZE, drawn
from measuring import compared, in_turn, where
from sklearn.cluster import KMeans

from torchreid_daam.pseudo_labels import KMeansLabeller


def ours(features: np.ndarray, clusters: int, minibatch: bool) -> np.ndarray:
    """Labels (N,) of the labeller."""
    labeller = KMeansLabeller(clusters, minibatch=minibatch)
    return labeller(features, None, None, np.random.default_rng(0)).labels


def theirs(features: np.ndarray, clusters: int) -> np.ndarray:
    """Labels (N,) as scikit-learn gives them."""
    return KMeans(clusters, n_init=1, random_state=0).fit_predict(features)


def spread(features: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance to the mean of the cluster."""
    counts = np.maximum(np.bincount(labels), 1)
    means = np.zeros((len(counts), features.shape[1]))
    np.add.at(means, labels, features)
    means /= counts[:, None]
    # |f - m|^2 summed over a cluster is sum |f|^2 - n |m|^2.
    total = np.square(features, dtype=np.float64).sum()
    return (total - (counts * np.square(means).sum(1)).sum()) / len(features)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=200_000)
    parser.add_argument('--clusters', type=int, default=2000)
    parser.add_argument('--repeats', type=int, default=1)
    args = parser.parse_args()
    print(where(), flush=True)
    features = drawn(args.images)
    calls = {
        'ours': partial(ours, features, args.clusters, False),
        'minibatch': partial(ours, features, args.clusters, True),
        'scikit-learn': partial(theirs, features, args.clusters),
    }
    print(f'{args.images} images x {SIZE}, K = {args.clusters}, in turn')
    results = in_turn(calls, args.repeats)
    for name, runs in results.items():
        print(
            f'{name:12s} {compared(runs, results["ours"])}  '
            f'mean squared distance {spread(features, runs[0].value):.4f}',
            flush=True,
        )


if __name__ == '__main__':
    main()

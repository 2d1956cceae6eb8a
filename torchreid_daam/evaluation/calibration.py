"""From distances of pairs to a threshold for "the same person"."""

from typing import Any, NamedTuple

import numpy as np

from torchreid_daam.data.people import FEW_PEOPLE
from torchreid_daam.pseudo_labels import unit_rows

# Images that pairs are made of; pairs grow with the square.
SAMPLE = 2000
DRAWS = 200
_GRID = 41


def cosine_distances(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """``1 - cos`` of all pairs (N, M), in [0, 2], float64."""

    def unit(vectors: np.ndarray) -> np.ndarray:
        return unit_rows(np.asarray(vectors, dtype=np.float64))

    return 1 - unit(one) @ unit(two).T


class Pairs(NamedTuple):
    """Pairs of images of two cameras.

    Attributes:
        distance: (P,).
        same: (P,) whether both show one person.
        people: (P, 2) numbers of the two identities, for the interval.
    """

    distance: np.ndarray
    same: np.ndarray
    people: np.ndarray


def cross_camera_pairs(
    features: np.ndarray,
    pids: np.ndarray,
    cameras: np.ndarray,
    generator: np.random.Generator,
    sample: int = SAMPLE,
    sure: np.ndarray | None = None,
) -> Pairs:
    """All pairs of two cameras among a sample of images.

    Args:
        features: (N, D).
        pids: (N,) identities, or pseudo labels.
        cameras: (N,).
        generator: draws the sample.
        sample: images.
        sure: (N,) which identities can be relied on. A pair of one person
            needs two such images; two clusters are two people with any,
            and without the unsure ones they would look further apart than
            people are.
    """
    rows = np.sort(
        generator.choice(
            len(features), min(sample, len(features)), replace=False
        )
    )
    pids, cameras = np.asarray(pids)[rows], np.asarray(cameras)[rows]
    i, j = np.triu_indices(len(rows), 1)
    wanted = cameras[i] != cameras[j]
    if sure is not None:
        both = np.asarray(sure)[rows]
        wanted &= (pids[i] != pids[j]) | (both[i] & both[j])
    i, j = i[wanted], j[wanted]
    chosen = np.asarray(features)[rows]
    distance = cosine_distances(chosen, chosen)[i, j]
    return Pairs(distance, pids[i] == pids[j], np.stack((pids[i], pids[j]), 1))


def threshold_at(distances: np.ndarray, rate: float) -> float:
    """The largest distance that accepts at most a share ``rate`` of pairs.

    Args:
        distances: (P,) of pairs of different people.
        rate: wished false-accept rate, in (0, 1).
    """
    ordered = np.sort(distances)
    return _below(ordered, np.arange(1, len(ordered) + 1), rate)


def _below(ordered: np.ndarray, counts: np.ndarray, rate: float) -> float:
    """Just under the first of ordered distances that would be too many.

    Args:
        ordered: (P,), the smallest first.
        counts: (P,), pairs up to each of them.
        rate: share of all that is allowed.
    """
    allowed = rate * counts[-1] * (1 + 1e-12)  # .29 x 100 are 29
    first = np.searchsorted(counts, allowed, side='right')
    return float(np.nextafter(ordered[first], -np.inf))


def _warnings(rate: float, different: int, people: int) -> list[str]:
    """Why a threshold is not to be leaned on."""
    found = []
    if rate * different < 1:
        found.append(
            f'a rate of {rate:g} is finer than 1 in {different} pairs of two '
            'people: the threshold lies below all of them'
        )
    if people < FEW_PEOPLE:
        found.append(f'{people} people are too few for an interval')
    return found


def calibrate_pairs(
    pairs: Pairs, rate: float, generator: np.random.Generator
) -> dict[str, Any] | None:
    """Threshold, its interval, and both distributions.

    The interval holds 95 % of the thresholds of resampled data. Pairs that
    share a person are not independent, so people are drawn, not pairs: a
    pair counts as often as both of its people were drawn.

    Args:
        pairs: of one set of images.
        rate: wished false-accept rate.
        generator: of the resampling.

    Returns:
        None where there are no pairs of the same or of different people.
        ``warnings`` says in words why a threshold is weak, if it is.
    """
    same, different = pairs.distance[pairs.same], pairs.distance[~pairs.same]
    if not len(same) or not len(different):
        return None
    threshold = threshold_at(different, rate)
    people = len(np.unique(pairs.people))
    grid = np.linspace(0, float(pairs.distance.max()), _GRID)
    quantiles = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    return {
        'threshold': threshold,
        'interval': _interval(pairs, rate, generator),
        'false_accepts': float((different <= threshold).mean()),
        'false_rejects': float((same > threshold).mean()),
        'same_pairs': len(same),
        'different_pairs': len(different),
        'people': people,
        'warnings': _warnings(rate, len(different), people),
        'quantiles': list(quantiles),
        'same': np.quantile(same, quantiles).tolist(),
        'different': np.quantile(different, quantiles).tolist(),
        'curve': [
            {
                'threshold': float(t),
                'false_accepts': float((different <= t).mean()),
                'false_rejects': float((same > t).mean()),
            }
            for t in grid
        ],
    }


def _interval(
    pairs: Pairs, rate: float, generator: np.random.Generator
) -> list[float]:
    different = ~pairs.same
    order = np.argsort(pairs.distance[different], kind='stable')
    distances = pairs.distance[different][order]
    names, members = np.unique(pairs.people, return_inverse=True)
    members = members.reshape(pairs.people.shape)[different][order]
    found = []
    for _ in range(DRAWS):
        drawn = generator.integers(len(names), size=len(names))
        times = np.bincount(drawn, minlength=len(names))
        weights = times[members[:, 0]] * times[members[:, 1]]
        total = np.cumsum(weights)
        if total[-1]:
            found.append(_below(distances, total, rate))
    if not found:
        return [float(distances[0]), float(distances[-1])]
    return np.quantile(found, (0.025, 0.975)).tolist()


def confident(
    features: np.ndarray, labels: np.ndarray, share: float = 0.5
) -> np.ndarray:
    """Which images (N,) lie near the middle of their cluster.

    The nearer ``share`` of each cluster, by cosine distance to its mean.

    Args:
        features: (N, D).
        labels: (N,), -1 for images left out.
        share: of a cluster's images that are kept.
    """
    kept = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        mean = np.asarray(features, np.float64)[rows].mean(axis=0)
        distances = cosine_distances(features[rows], mean[None])[:, 0]
        number = max(1, int(np.ceil(share * len(rows))))
        kept[rows[np.argsort(distances, kind='stable')[:number]]] = True
    return kept

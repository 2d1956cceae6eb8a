"""mAP of several extractors on the same images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torchreid
from torch.nn import functional as F

from torchreid_daam.delivery.runtime import Extractor
from torchreid_daam.errors import InputError, one_line
from torchreid_daam.evaluation.ranks import MAX_RANK, lengthened
from torchreid_daam.runs.console import progress


class TestSet(NamedTuple):
    """Query and gallery of one data set, and how they are compared.

    Both are sequences of ``{'img', 'pid', 'camid'}``, such as
    ``data.seeded.SeededImages``.
    """

    name: str
    query: Sequence[dict[str, Any]]
    gallery: Sequence[dict[str, Any]]
    metric: str = 'euclidean'
    normalize: bool = False
    batch_size: int = 64


def mean_aps(extractors: Sequence[Extractor], test: TestSet) -> list[float]:
    """mAP of each extractor in percent; every image is read once.

    Raises:
        InputError: if no query has a match under another camera.
    """
    query, *who_q = _pass(extractors, test.query, test)
    gallery, *who_g = _pass(extractors, test.gallery, test)
    scores = []
    for q, g in zip(query, gallery, strict=True):
        distances = torchreid.metrics.compute_distance_matrix(
            q, g, test.metric
        ).numpy()
        distances, *strangers = lengthened(distances, *who_g, MAX_RANK)
        try:
            _, mean_ap = torchreid.metrics.evaluate_rank(
                distances, who_q[0], strangers[0], who_q[1], strangers[1]
            )
        except AssertionError as error:
            raise InputError(
                f'{test.name}: mAP can not be measured ({one_line(error)}); '
                '--no-map leaves it out'
            ) from None
        scores.append(100 * float(mean_ap))
    return scores


def _pass(
    extractors: Sequence[Extractor], images: Sequence, test: TestSet
) -> tuple[list[torch.Tensor], np.ndarray, np.ndarray]:
    """Vectors of each extractor, identities and cameras."""
    found: list[list[torch.Tensor]] = [[] for _ in extractors]
    pids, camids = [], []
    starts = range(0, len(images), test.batch_size)
    for start in progress(starts, f'mAP on {test.name}', len(starts)):
        stop = min(start + test.batch_size, len(images))
        batch = [images[i] for i in range(start, stop)]
        pids += [item['pid'] for item in batch]
        camids += [item['camid'] for item in batch]
        pixels = torch.stack([item['img'] for item in batch]).numpy()
        for vectors, extract in zip(found, extractors, strict=True):
            vectors.append(torch.from_numpy(extract(pixels)))
    joined = [torch.cat(vectors) for vectors in found]
    if test.normalize:
        joined = [F.normalize(vectors) for vectors in joined]
    return joined, np.array(pids), np.array(camids)

"""Whether an exported file answers as the model does."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from torchreid_daam.delivery.runtime import Extractor
from torchreid_daam.pseudo_labels import unit_rows

BATCHES = (1, 2, 17)
# Between unit vectors, in fp32.
MAX_DIFFERENCE = 1e-5
MIN_COSINE = 0.99999


class ParityError(RuntimeError):
    """The exported file does not answer as the model does."""


class Parity(NamedTuple):
    """One batch: how far the file's unit vectors are from the model's."""

    images: str
    batch: int
    max_difference: float
    min_cosine: float


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows (N, D) of length 1, in float64; a zero row stays zero."""
    return unit_rows(np.asarray(vectors, np.float64))


def compare(
    reference: Extractor,
    exported: Extractor,
    images: Mapping[str, np.ndarray],
    normalized: bool = False,
) -> list[Parity]:
    """Runs both on the first 1, 2 and 17 images of each kind.

    Args:
        reference: the model.
        exported: the file.
        images: by kind, (N, 3, H, W) float32; a kind with fewer images than
            a batch gives them again from the start.
        normalized: whether the file promises unit vectors.

    Raises:
        ParityError: if the file can't run a batch, or its answer has
            another shape, or is not finite.
    """
    rows = []
    for kind, pool in images.items():
        for batch in BATCHES:
            chosen = pool[np.arange(batch) % len(pool)]
            expected = reference(chosen)
            where = f'{kind} images, batch {batch}'
            try:
                found = exported(chosen)
            except Exception as error:  # each runtime has kinds of its own
                raise ParityError(f'{where}: {error}') from error
            _check_answer(found, expected, where, normalized)
            a, b = unit(expected), unit(found)
            # Two dead vectors are as equal as vectors can be.
            dead = ~a.any(axis=1) & ~b.any(axis=1)
            cosine = np.where(dead, 1.0, (a * b).sum(axis=1))
            rows.append(
                Parity(
                    kind,
                    batch,
                    float(np.abs(a - b).max()),
                    float(cosine.min()),
                )
            )
    return rows


def _check_answer(
    found: np.ndarray, expected: np.ndarray, where: str, normalized: bool
) -> None:
    if found.shape != expected.shape:
        raise ParityError(
            f'{where}: vectors of shape {found.shape}, {expected.shape} by '
            'the model'
        )
    if not np.isfinite(found).all():
        raise ParityError(f'{where}: vectors that are not finite')
    lengths = np.linalg.norm(np.asarray(found, np.float64), axis=1)
    if normalized and not np.all((lengths == 0) | (abs(lengths - 1) < 1e-2)):
        raise ParityError(f'{where}: vectors that are not of length 1')


def check_tolerance(rows: list[Parity]) -> None:
    """Raises ParityError for a row beyond what fp32 is allowed."""
    for row in rows:
        if row.max_difference > MAX_DIFFERENCE or row.min_cosine < MIN_COSINE:
            raise ParityError(
                f'{row.images} images, batch {row.batch}: unit vectors '
                f'differ by {row.max_difference:.1e} (at most '
                f'{MAX_DIFFERENCE:g} is allowed), cosine '
                f'{row.min_cosine:.6f} (at least {MIN_COSINE:g})'
            )

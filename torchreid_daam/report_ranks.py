"""What good and bad queries find: ranked lists of images."""

from collections.abc import Callable

import numpy as np
import torch
import torchreid

from torchreid_daam.delivery.figures import Tile, image_rows
from torchreid_daam.delivery.report import Picture, Section
from torchreid_daam.errors import InputError
from torchreid_daam.report_material import Material, sample

# Bounds, so that a large data set costs no more than a small one.
QUERIES, GALLERY, LISTS, DEPTH = 60, 2000, 3, 8


def rank_lists(material: Material) -> Callable[[Section], None]:
    """What a few good and bad queries find in the target's gallery."""

    def fill(part: Section) -> None:
        name, splits = next(iter(material.manager.test_dataset.items()))
        found = {}
        for split, most in (('query', QUERIES), ('gallery', GALLERY)):
            data = sorted(splits[split], key=lambda d: d[0])
            chosen = [data[i] for i in sample(len(data), most, split)]
            found[split] = material.pictures.vectors(
                material.model, chosen, lambda entry: entry[0]
            )
        (query, vectors_q), (gallery, vectors_g) = found.values()
        cfg = material.cfg.test
        vectors = [torch.from_numpy(v) for v in (vectors_q, vectors_g)]
        if cfg.normalize_feature:
            vectors = [torch.nn.functional.normalize(v) for v in vectors]
        distances = torchreid.metrics.compute_distance_matrix(
            *vectors, cfg.dist_metric
        ).numpy()
        scored = []
        for q, row in zip(query, distances, strict=True):
            order = allowed_order(q, gallery, row)
            right = np.array([gallery[i][1] == q[1] for i in order], bool)
            if right.any():
                scored.append((average_precision(right), q, order, right))
        if not scored:
            raise InputError(f'{name}: no query has a match; no labels?')
        scored.sort(key=lambda s: (-s[0], s[1][0]))
        part.notes.append(
            f'{name}: the best and worst of {len(scored)} queries among '
            f'{len(gallery)} gallery images. Right: ✓, solid frame; wrong: '
            '✗, dashed frame. AP is the average precision.'
        )
        few = max(1, min(LISTS, len(scored) // 2))
        for kind, some in (
            ('good', scored[:few]),
            ('bad', scored[-few:]),
        ):
            rows = [
                (f'AP {ap:.2f}', _list(material, q, gallery, order, right))
                for ap, q, order, right in some
            ]
            alt = f'Rank lists of {kind} queries; the query is at the left.'
            figure = image_rows(rows, material.pictures.aspect)
            part.pictures.append(
                Picture(f'ranks-{kind}', figure, alt, wide=True)
            )

    return fill


def allowed_order(query: tuple, gallery: list, row: np.ndarray) -> list[int]:
    """Gallery by distance, without the query's person at its own camera."""
    order = np.argsort(row, kind='stable').tolist()
    own = tuple(query[1:3])
    return [i for i in order if tuple(gallery[i][1:3]) != own]


def average_precision(right: np.ndarray) -> float:
    """AP of a ranked list (G,) of right and wrong; the mean of precisions."""
    ranks = np.flatnonzero(right) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _list(material, query, gallery, order, right) -> list[Tile]:
    thumb = material.pictures.thumb
    tiles = [Tile(thumb(query[0]), 'query')]
    for rank, (i, good) in enumerate(zip(order[:DEPTH], right, strict=False)):
        title = f'{rank + 1} {"✓" if good else "✗"}'
        tiles.append(Tile(thumb(gallery[i][0]), title, bool(good)))
    return tiles

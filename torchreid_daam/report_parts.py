"""The parts of a report that show images: attention and clusters."""

import os
from collections.abc import Callable, Iterable

import numpy as np
import torch

from torchreid_daam.data.reading import read_image
from torchreid_daam.delivery.figures import (
    Tile,
    attention_overlays,
    image_rows,
)
from torchreid_daam.delivery.looking import attention_weights
from torchreid_daam.delivery.report import Picture, Section
from torchreid_daam.errors import InputError
from torchreid_daam.report_material import Material, sample, shrunk

# Bounds, so that a large data set costs no more than a small one.
SCANNED, FAIR, EXTREME = 300, 4, 2
CLUSTERS, MEMBERS, LEAST = 3, 9, 3


def overlays(
    material: Material, extreme: int = EXTREME
) -> Callable[[Section], None]:
    """DSH and DSP weights on the target's training images (Fig. 7).

    Args:
        material: of the run.
        extreme: images with the least and with the most weight on DSH, so
            many each, beside those at random.
    """

    def fill(part: Section) -> None:
        data = sorted(d[0] for d in material.target)
        paths = [data[i] for i in sample(len(data), SCANNED, 'overlays')]
        paths, weights = _weights(material, paths)
        mean = weights['DSH'].mean(axis=(1, 2))
        order = np.argsort(mean, kind='stable')
        few = min(extreme, len(paths))
        fair = sample(len(paths), FAIR, 'fair')
        chosen = [*fair, *order[:few], *order[len(order) - few :]]
        titles = ['at random'] * len(fair) + ['least DSH'] * few
        titles += ['most DSH'] * few
        ends = (
            f', and of {len(paths)} those with the least and the most weight '
            'on the shared part'
            if few
            else ''
        )
        part.notes.append(
            f'{len(fair)} images drawn at random{ends}. Warmer is greater; '
            'the bars have the numbers.'
        )
        part.pictures.append(
            Picture(
                'attention',
                attention_overlays(
                    [material.pictures.thumb(paths[i]) for i in chosen],
                    {k: w[chosen] for k, w in weights.items()},
                    titles,
                ),
                'Target images, and the weights of the domain-shared (DSH) '
                'and domain-specific (DSP) part on them.',
                wide=True,
            )
        )

    return fill


def _weights(
    material: Material, paths: list[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The files that can be read, and what the attention makes of them."""
    kept: list[str] = []
    images = material.pictures.stream(paths, lambda path: path, kept)
    return kept, _attention(material, images)


def _attention(
    material: Material, images: Iterable[torch.Tensor]
) -> dict[str, np.ndarray]:
    weights = attention_weights(material.model, images)
    if not weights:
        raise InputError(
            'model.daam.attention=none: this model has no attention'
        )
    return weights


def one_overlay(material: Material, path: str) -> Callable[[Section], None]:
    """The weights on one image file."""

    def fill(part: Section) -> None:
        image = read_image(path, ())
        weights = _attention(material, [material.pictures.transform(image)])
        figure = attention_overlays([shrunk(image)], weights, [''])
        name = os.path.basename(path)
        alt = f'{name}: the image, and the weights of DSH and DSP on it.'
        part.pictures.append(Picture('image', figure, alt))

    return fill


def _unreadable(tiles: list[Tile]) -> list[str]:
    """A note on images that are gone, if any; an error if all are."""
    gone = sum(tile.image is None for tile in tiles)
    if gone == len(tiles):
        raise InputError(
            f'none of {gone} images can be read; --root says where they are'
        )
    return [f'{gone} of {len(tiles)} images can not be read.'] if gone else []


def clusters(material: Material) -> Callable[[Section], None]:
    """The largest, tightest and worst clusters as contact sheets."""

    def fill(part: Section) -> None:
        files = material.labels
        labels, weights = files.labels.labels, files.labels.weights
        members = {
            int(k): np.flatnonzero(labels == k) for k in np.unique(labels)
        }
        members = {
            k: m for k, m in members.items() if k >= 0 and len(m) >= LEAST
        }
        if not members:
            raise InputError(f'no cluster has {LEAST} images')
        mean = {k: float(weights[m].mean()) for k, m in members.items()}
        kinds = {
            'largest': sorted(members, key=lambda k: -len(members[k])),
            'tightest': sorted(members, key=lambda k: -mean[k]),
            'worst': sorted(members, key=lambda k: mean[k]),
        }
        part.notes.append(
            'Tight and bad by the mean weight (Eq. 9) of their images; '
            f'clusters of fewer than {LEAST} are left out. Above an image is '
            'its weight.'
        )
        sheets: dict[str, list[tuple[str, list[Tile]]]] = {}
        for kind, ordered in kinds.items():
            sheets[kind] = []
            for k in ordered[:CLUSTERS]:
                shown = members[k][np.argsort(-weights[members[k]])]
                step = np.linspace(0, len(shown) - 1, MEMBERS).round()
                shown = shown[np.unique(step.astype(int))]
                row = [
                    Tile(
                        material.pictures.thumb(material.file(files.names[i])),
                        f'{weights[i]:.2f}',
                    )
                    for i in shown
                ]
                title = f'cluster {k}\n{len(members[k])} images'
                sheets[kind].append((title, row))
        part.notes += _unreadable(
            [t for rows in sheets.values() for _, row in rows for t in row]
        )
        for kind, rows in sheets.items():
            part.pictures.append(
                Picture(
                    f'clusters-{kind}',
                    image_rows(rows, material.pictures.aspect),
                    f'The {kind} clusters, of each {MEMBERS} images at most, '
                    'from the greatest weight to the least.',
                    wide=True,
                )
            )

    return fill

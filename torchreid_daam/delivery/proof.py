"""What a file is proved with: its model, images, and mAP on labelled ones."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from torchreid_daam.delivery import parity
from torchreid_daam.delivery.graph import Size, resized
from torchreid_daam.delivery.ranking import TestSet, mean_aps
from torchreid_daam.delivery.runtime import Extractor, from_module
from torchreid_daam.errors import InputError
from torchreid_daam.model import DAAM
from torchreid_daam.randomness import key_generator

# Points of mAP by which a file may differ from its model.
MAX_CHANGE = {'fp32': 0.05, 'fp16': 0.3, 'int8': 1.0}


class Options(NamedTuple):
    """What is asked for; sizes are (height, width)."""

    run: str
    trained: Size
    incoming: Size
    format: str = 'onnx'
    precision: str = 'fp32'
    normalize: bool = False
    force: bool = False
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)


class Material(NamedTuple):
    """What the file is proved on, and calibrated on.

    ``images`` and ``calibration`` are (N, 3, H, W) float32 of the target's
    training part, mean and std taken off, at the incoming size; None if
    there are none. The ranges of int8 come from ``calibration``: images it
    was fitted to would flatter it.
    """

    images: np.ndarray | None = None
    calibration: np.ndarray | None = None
    tests: Sequence[TestSet] = ()


def reference_of(model: DAAM, options: Options) -> Extractor:
    """The model itself, by its own forward pass, as the file should be."""

    def forward(x):
        if options.incoming != options.trained:
            x = resized(x, options.trained)
        v = model(x)
        if options.normalize:
            v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return v

    return from_module(forward)


def own_rounding(
    model: DAAM,
    reference: Extractor,
    options: Options,
    pools: Mapping[str, np.ndarray],
) -> float:
    """What of a difference may be torch's own: float32 against float64."""
    double = reference_of(copy.deepcopy(model).double(), options)
    return max(
        float(
            np.abs(
                parity.unit(double(images.astype(np.float64)))
                - parity.unit(reference(images))
            ).max()
        )
        for images in pools.values()
    )


def image_pools(options: Options, material: Material) -> dict[str, np.ndarray]:
    """Images for the comparison: noise of every pixel, and real ones."""
    shape = (max(parity.BATCHES), 3, *options.incoming)
    generator = key_generator('export', *options.incoming)
    pixels = generator.random(shape, np.float32)
    mean, std = (
        np.array(value, np.float32).reshape(3, 1, 1)
        for value in (options.mean, options.std)
    )
    pools = {'random': (pixels - mean) / std}
    if material.images is not None:
        pools['real'] = material.images[: max(parity.BATCHES)]
    return pools


def scores_of(
    reference: Extractor, exported: Extractor, tests: Sequence[TestSet]
) -> list[dict[str, Any]]:
    rows = []
    for test in tests:
        model, file = mean_aps([reference, exported], test)
        rows.append(
            {
                'dataset': test.name,
                'model': model,
                'file': file,
                'change': file - model,
            }
        )
    return rows


def check_scores(scores: list[dict[str, Any]], options: Options) -> None:
    allowed = MAX_CHANGE[options.precision]
    for row in scores:
        if abs(row['change']) <= allowed:
            continue
        text = (
            f'--precision {options.precision}: mAP on {row["dataset"]} '
            f'changes by {row["change"]:+.2f} points, at most {allowed:g} '
            'is allowed'
        )
        if options.precision == 'fp32':
            raise parity.ParityError(text)
        if not options.force:
            raise InputError(f'{text}; --force writes the file all the same')

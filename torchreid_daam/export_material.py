"""Images for an export: to prove the file on, to calibrate it, to score it."""

import contextlib
from typing import Any

import numpy as np
import torchvision.transforms as T
from yacs.config import CfgNode as CN

from torchreid_daam.data.domains import scored_tests
from torchreid_daam.data.seeded import Item, SeededImages
from torchreid_daam.delivery.features import image_transform
from torchreid_daam.delivery.parity import BATCHES
from torchreid_daam.delivery.precision import CALIBRATION_IMAGES
from torchreid_daam.delivery.proof import Material, Options
from torchreid_daam.delivery.ranking import TestSet
from torchreid_daam.errors import InputError
from torchreid_daam.run_data import has_root, quiet_datamanager


def gathered(
    cfg: CN | None, options: Options, no_map: bool
) -> tuple[Material, dict[str, Any]]:
    """Images for the proof, and what the metadata says about the data."""
    if cfg is None:
        note = (
            "no settings of a run beside the checkpoint; ImageNet's mean and "
            'standard deviation are assumed'
        )
        return Material(), {'read': False, 'note': note}
    about: dict[str, Any] = {
        'sources': list(cfg.data.sources),
        'targets': list(cfg.data.targets),
        'read': False,
    }
    manager, reason = _datamanager(cfg)
    if manager is None:
        return Material(), {**about, 'note': reason}
    transform = _transform(options)
    images, calibration = _training_images(
        manager, transform, options.precision == 'int8'
    )
    tests = [] if no_map else _tests(cfg, manager, transform)
    about['read'] = True
    about['mAP_by'] = cfg.test.dist_metric
    return Material(images, calibration, tests), about


def _datamanager(cfg: CN) -> tuple[Any, str]:
    if not has_root(cfg):
        return None, 'data.root is no folder; --root says where the data is'
    try:
        return quiet_datamanager(cfg), ''
    except (InputError, OSError) as error:
        return None, f'the data can not be read: {error}'


def _transform(options: Options) -> T.Compose:
    """As torchreid prepares test images, at the incoming size."""
    return image_transform(*options.incoming, options.mean, options.std)


def _training_images(
    manager: Any, transform: T.Compose, calibrates: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Some of the target's training images: to prove, and to calibrate on.

    Both are spread over its files, and no image is of both unless there are
    very few.
    """
    # Where the source is the target there is one list of training images.
    loader = manager.train_loader_t
    if loader is None:
        loader = manager.train_loader
    paths = sorted({entry[0] for entry in loader.dataset.data})
    proof = spread(paths, max(BATCHES))
    rest = sorted(set(paths) - set(proof))
    enough = rest if len(rest) >= len(proof) else paths
    calibration = spread(enough, CALIBRATION_IMAGES) if calibrates else []

    def read(chosen: list[str]) -> np.ndarray | None:
        images = SeededImages([Item(p, -1, 0) for p in chosen], transform)
        found = []
        for i in range(len(images)):
            # A training with data.on_bad_image skip leaves out such ones.
            with contextlib.suppress(InputError):
                found.append(images[i]['img'].numpy())
        return np.stack(found) if found else None

    return read(proof), read(calibration)


def spread(items: list[str], number: int) -> list[str]:
    """At most so many, at even steps from the first to the last."""
    steps = np.linspace(0, len(items) - 1, min(number, len(items)))
    return [items[round(i)] for i in steps]


def _tests(cfg: CN, manager: Any, transform: T.Compose) -> list[TestSet]:
    def part(data):
        return SeededImages([Item(*entry[:4]) for entry in data], transform)

    return [
        TestSet(
            name,
            part(splits['query']),
            part(splits['gallery']),
            cfg.test.dist_metric,
            cfg.test.normalize_feature,
            min(cfg.test.batch_size, 64),
        )
        for name, splits in scored_tests(manager).items()
    ]

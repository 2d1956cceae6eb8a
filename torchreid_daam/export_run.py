"""The export command: a run or checkpoint, its images, its names."""

import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision.transforms as T
from yacs.config import CfgNode as CN

from torchreid_daam.config import get_default_config, merge_file
from torchreid_daam.data.domains import scored_tests
from torchreid_daam.data.seeded import Item, SeededImages
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.delivery.export import Exported, export
from torchreid_daam.delivery.features import image_transform
from torchreid_daam.delivery.graph import Size
from torchreid_daam.delivery.metadata import sha256
from torchreid_daam.delivery.parity import BATCHES
from torchreid_daam.delivery.precision import CALIBRATION_IMAGES
from torchreid_daam.delivery.proof import Material, Options
from torchreid_daam.delivery.ranking import TestSet
from torchreid_daam.errors import InputError
from torchreid_daam.loading import load_model
from torchreid_daam.runs.checkpoint import checkpoint_file
from torchreid_daam.use import CALIBRATION

SIDES = (8, 2048)
# Data sets that don't lie below data.root.
OWN_FOLDERS = {'source_folder', 'target_folder'}


class Wish(NamedTuple):
    """What the command line asks for; empty texts stand for the default."""

    source: str
    format: str = 'onnx'
    precision: str = 'fp32'
    input_size: str = ''
    model_size: str = ''
    normalize: bool = False
    name: str = ''
    output: str = ''
    root: str = ''
    no_map: bool = False
    force: bool = False


def export_run(wish: Wish) -> Exported:
    """Exports the model of a run or of a checkpoint.

    Raises:
        InputError: if the checkpoint, a size, a name, the folder or the
            settings beside it are wrong.
        ParityError: if the file does not answer as the model does.
    """
    checkpoint, run = located(wish.source)
    model = load_model(checkpoint)
    cfg = run and _settings(run, wish.root)
    trained = _trained_size(wish, cfg)
    incoming = parsed_size('--input-size', wish.input_size) or trained
    _check_size(model, trained)
    options = Options(
        run=wish.name or _run_name(checkpoint, run),
        trained=trained,
        incoming=incoming,
        format=wish.format,
        precision=wish.precision,
        normalize=wish.normalize,
        force=wish.force,
    )
    if cfg is not None:
        options = options._replace(
            mean=tuple(cfg.data.norm_mean), std=tuple(cfg.data.norm_std)
        )
    material, data = _material(cfg, options, wish.no_map)
    facts = {
        'run': options.run,
        'checkpoint': {
            'file': checkpoint.name,
            'sha256': sha256(checkpoint),
        },
        'data': data,
        'calibration': _calibration(checkpoint),
    }
    folder = wish.output or (run or checkpoint.parent) / 'export'
    return export(model, folder, options, material, facts)


def located(source: str | os.PathLike) -> tuple[Path, Path | None]:
    """The checkpoint, and the run's folder where it is of one."""
    checkpoint = checkpoint_file(os.path.abspath(os.path.expanduser(source)))
    if not checkpoint.is_file():
        raise InputError(
            f'{checkpoint}: no such file; a run with '
            'checkpoints/selected.pth or a checkpoint is needed'
        )
    run = checkpoint.parent.parent
    known = checkpoint.parent.name == 'checkpoints'
    if known and (run / 'config.yaml').is_file():
        return checkpoint, run
    return checkpoint, None


def parsed_size(key: str, text: str) -> Size | None:
    """``256x128`` as (height, width); None for an empty text."""
    if not text:
        return None
    match = re.fullmatch(r'(\d{1,5})[xX](\d{1,5})', text.strip())
    low, high = SIDES
    if match is None or not all(
        low <= int(side) <= high for side in match.groups()
    ):
        raise InputError(
            f'{key}={text}: HEIGHTxWIDTH such as 256x128 expected, sides of '
            f'{low} to {high}'
        )
    return int(match[1]), int(match[2])


def _settings(run: Path, root: str) -> CN:
    """The run's settings, as far as its data is concerned."""
    cfg = get_default_config()
    merge_file(cfg, str(run / 'config.yaml'))
    cfg.use_gpu, cfg.data.workers = False, 0
    cfg.data.root = os.path.expanduser(root or cfg.data.root)
    cfg.sampler.train_sampler = cfg.sampler.train_sampler_t = 'RandomSampler'
    return cfg


def _trained_size(wish: Wish, cfg: CN | None) -> Size:
    given = parsed_size('--model-size', wish.model_size)
    if cfg is None:
        if given is None:
            raise InputError(
                f'{wish.source}: no config.yaml of a run beside it; say the '
                'size it was trained at: --model-size 256x128'
            )
        return given
    trained = (cfg.data.height, cfg.data.width)
    if given not in (None, trained):
        raise InputError(
            f'--model-size={wish.model_size}: the run was trained at '
            f'{trained[0]}x{trained[1]}; another incoming size is '
            '--input-size'
        )
    return trained


def _check_size(model: torch.nn.Module, size: Size) -> None:
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, *size))
    except RuntimeError:
        raise InputError(
            f'--model-size={size[0]}x{size[1]}: too small for '
            f'{model.backbone_name}'
        ) from None


def _run_name(checkpoint: Path, run: Path | None) -> str:
    if run is None:
        return checkpoint.name.split('.')[0]
    if checkpoint.name == 'selected.pth':
        return run.name
    return f'{run.name}-{checkpoint.stem}'


def _calibration(checkpoint: Path) -> Any:
    """A threshold for "the same person", where the model has one."""
    path = checkpoint.parent / CALIBRATION
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: not readable JSON ({error})') from None


def _material(
    cfg: CN | None, options: Options, no_map: bool
) -> tuple[Material, dict[str, Any]]:
    """Images for the proof, and what the metadata says about the data."""
    if cfg is None:
        note = 'no settings of a run beside the checkpoint'
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
    images = _training_images(manager, transform)
    tests = [] if no_map else _tests(cfg, manager, transform)
    about['read'] = True
    about['mAP_by'] = cfg.test.dist_metric
    return Material(images, tests), about


def _datamanager(cfg: CN) -> tuple[Any, str]:
    named = {*cfg.data.sources, *cfg.data.targets}
    if named - OWN_FOLDERS and not os.path.isdir(cfg.data.root):
        # Embedded data would be drawn there, into a place nobody chose.
        return None, 'data.root is no folder; --root says where the data is'
    try:
        # torchreid prints what it loads.
        with contextlib.redirect_stdout(io.StringIO()):
            return build_datamanager(cfg), ''
    except (InputError, OSError) as error:
        return None, f'the data can not be read: {error}'


def _transform(options: Options) -> T.Compose:
    """As torchreid prepares test images, at the incoming size."""
    return image_transform(*options.incoming, options.mean, options.std)


def _training_images(manager: Any, transform: T.Compose) -> np.ndarray | None:
    """Some of the target's training images, spread over its files."""
    loader = manager.train_loader_t or manager.train_loader
    paths = sorted(entry[0] for entry in loader.dataset.data)
    wanted = max(CALIBRATION_IMAGES, *BATCHES)
    steps = np.linspace(0, len(paths) - 1, min(wanted, len(paths)))
    items = [Item(paths[round(i)], -1, 0) for i in steps]
    images = SeededImages(items, transform)
    return np.stack([images[i]['img'].numpy() for i in range(len(images))])


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

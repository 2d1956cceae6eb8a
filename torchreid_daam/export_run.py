"""The export command: a run or checkpoint, its images, its names."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from yacs.config import CfgNode as CN

from torchreid_daam.delivery.export import Exported, export, ready
from torchreid_daam.delivery.graph import Size
from torchreid_daam.delivery.proof import Options
from torchreid_daam.errors import InputError
from torchreid_daam.export_material import gathered
from torchreid_daam.loading import load_model
from torchreid_daam.run_data import settings_of
from torchreid_daam.runs.calibration import read_calibration
from torchreid_daam.runs.checkpoint import checkpoint_file
from torchreid_daam.runs.files import sha256

SIDES = (8, 2048)


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
    folder = wish.output or (run or checkpoint.parent) / 'export'
    ready(model.backbone_name, folder, options)  # before images are read
    material, data = gathered(cfg, options, wish.no_map)
    facts = {
        'run': options.run,
        'checkpoint': {
            'file': checkpoint.name,
            'sha256': sha256(checkpoint),
        },
        'data': data,
        'calibration': _calibration(checkpoint, options),
    }
    return export(model, folder, options, material, facts)


def _calibration(checkpoint: Path, options: Options) -> dict[str, Any] | None:
    """The threshold, and whether this file gives the vectors it is for."""
    found = read_calibration(checkpoint)
    if found is None:
        return None
    same = options.precision == 'fp32' and options.incoming == options.trained
    note = 'of the distances that this file gives'
    if not same:
        note = (
            'found with the fp32 model at the size it was trained at; the '
            'distances of this file differ, and the share of errors with them'
        )
    return {**found, 'same_vectors': same, 'note': note}


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
    cfg = settings_of(run)
    cfg.data.root = os.path.expanduser(root or cfg.data.root)
    # A stock engine's run reads no training images of its target.
    apart = not set(cfg.data.sources) & set(cfg.data.targets)
    cfg.data.load_train_targets = apart
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

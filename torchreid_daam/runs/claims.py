"""Whether a run may write into a folder and nobody loses anything."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from torchreid_daam.config import config_hash, get_default_config, merge_file
from torchreid_daam.errors import InputError
from torchreid_daam.runs.history import LAST

SETTINGS, RESULTS = 'config.yaml', 'results.json'


def check_kinds(folder: Path, names: Sequence[str]) -> None:
    """Checks that what a run makes folders of is not a file.

    Raises:
        InputError: naming it.
    """
    for name in names:
        path = folder / name
        if path.exists() and not path.is_dir():
            raise InputError(
                f'data.save_dir={folder}: {name} in it is no folder; move it '
                'away, or choose another folder'
            )


def check_newest(resumed: Path, files: Sequence[Path]) -> None:
    """Checks that a complete run is not cut short by an earlier file of it.

    Args:
        resumed: what is to be gone on from, a file of the run.
        files: its checkpoints, the newest first; ``last.pth`` is another
            name of the newest one.

    Raises:
        InputError: if it is an earlier one.
    """
    numbered = [path for path in files if path.name != LAST]
    newest = {path.resolve() for path in [*files[:1], *numbered[:1]]}
    if newest and resumed.resolve() not in newest:
        raise InputError(
            f'model.resume={resumed}: the run in this folder is complete, '
            'and all that came after this file would be lost; choose another '
            'data.save_dir to go on from it'
        )


def check_foreign(folder: Path) -> None:
    """Checks that files which a run would overwrite are a run's.

    Raises:
        InputError: naming one that is somebody's own.
    """
    for name, is_ours in (
        (SETTINGS, _settings_of_a_run),
        (RESULTS, _results_of_a_run),
    ):
        if (folder / name).exists() and not is_ours(folder / name):
            raise InputError(
                f"data.save_dir={folder}: {name} in it is not a run's and "
                'would be overwritten; move it away, or choose another folder'
            )


def check_free(folder: Path, own: tuple[str, int], unfinished: bool) -> None:
    """Checks that the run in a folder may be begun anew.

    One that was killed before its first checkpoint may, and a complete one
    of the same settings.

    Args:
        folder: with a run in it.
        own: hash of the settings and seed of the run that wants to begin.
        unfinished: whether it has checkpoints and is not complete.

    Raises:
        InputError: if it has other settings, or is unfinished.
    """
    there = get_default_config()
    try:
        merge_file(there, str(folder / SETTINGS))
    except (InputError, OSError):
        there = None
    if there is None or (config_hash(there), there.train.seed) != own:
        raise InputError(
            f'data.save_dir={folder}: holds a run with other settings; '
            'choose another folder, or move it away'
        )
    if unfinished:
        raise InputError(
            f'data.save_dir={folder}: holds this run, unfinished; '
            'model.resume auto goes on with it, or choose another folder'
        )


def _settings_of_a_run(path: Path) -> bool:
    """Whether a file names all sections, as a run writes them."""
    try:
        given = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(given, dict) and set(get_default_config()) <= set(given)


def _results_of_a_run(path: Path) -> bool:
    try:
        given = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    return isinstance(given, dict) and {'format', 'rows'} <= set(given)

"""``held_people.json``: people of a source folder who were not trained on."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from torchreid_daam.data.lists import Entry
from torchreid_daam.data.seeded import relative_path
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_json

HELD = 'held_people.json'
FORMAT = 1


def write_held(folder: Path, data_root: str, entries: Sequence[Entry]) -> None:
    """Writes them into a run's folder, paths relative to the data root.

    Without any, a file of an earlier start is removed.
    """
    path = folder / HELD
    if not entries:
        path.unlink(missing_ok=True)
        return
    images = [
        {'path': relative_path(name, data_root), 'person': pid, 'camera': cam}
        for name, pid, cam in entries
    ]
    write_json(path, {'format': FORMAT, 'images': images})


def read_held(folder: Path, data_root: str) -> list[Entry]:
    """What :func:`write_held` wrote; empty where there is none.

    Raises:
        InputError: if the file holds something else.
    """
    path = folder / HELD
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return [
            (
                os.path.join(data_root, image['path']),
                int(image['person']),
                int(image['camera']),
            )
            for image in content['images']
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f'{path}: no list of people in it; the run that wrote it does so '
            'when it begins'
        ) from None

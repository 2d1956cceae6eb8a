"""A run's files, read for its report: each may be missing or broken."""

import json
import logging
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from torchreid_daam.errors import InputError
from torchreid_daam.runs import calibration
from torchreid_daam.runs.checkpoint import checkpoint_file
from torchreid_daam.runs.labels import LabelledFiles, read_labels

# It tells each file that it has read to its end.
logging.getLogger('tensorboard').setLevel(logging.WARNING)
OTHER = ('time', 'data', 'lr')


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: naming the file and what is wrong.
    """
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise InputError(f'{path.name}: not there') from None
    except (OSError, ValueError) as error:
        raise InputError(f'{path.name}: not readable ({error})') from None
    if not isinstance(value, dict):
        raise InputError(f'{path.name}: holds no object')
    return value


def read_rows(run: Path) -> list[dict[str, Any]]:
    """Whole rows of ``results.json``; raises InputError without any."""
    needed = {'stage', 'round', 'dataset', 'mAP', 'rank1'}
    rows = read_json(run / 'results.json').get('rows')
    rows = rows if isinstance(rows, list) else []
    rows = [r for r in rows if isinstance(r, dict) and needed <= r.keys()]
    if not rows:
        raise InputError(
            'results.json: holds no scores. Where the target has no labels '
            'there are none; the health of the rounds is told without them'
        )
    return rows


def read_rounds(run: Path) -> list[dict[str, Any]]:
    """Whole lines of ``rounds.jsonl``; raises InputError without any."""
    try:
        lines = (run / 'rounds.jsonl').read_text('utf-8').splitlines()
    except (OSError, ValueError):
        raise InputError('rounds.jsonl: not there; no round began') from None
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # the last one of a disk that was full
            continue
        if isinstance(entry, dict) and isinstance(entry.get('round'), int):
            found.append(entry)
    if not found:
        raise InputError('rounds.jsonl: holds no round')
    return found


def read_terms(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Loss terms of the TensorBoard events: name -> (batch, value) pairs.

    Batches are counted from 1 over the whole run.

    Raises:
        InputError: where there are none.
    """
    if not list(run.glob('events.out.tfevents.*')):
        raise InputError('events.out.tfevents.*: not there')
    # What was trained again after a kill is left out where it came first.
    events = EventAccumulator(str(run), size_guidance={'scalars': 0})
    events.Reload()
    tags = [t for t in events.Tags()['scalars'] if t.startswith('Train/')]
    found = {tag.partition('/')[2]: events.Scalars(tag) for tag in tags}
    # torchreid's own writer numbers batches by epoch and the epoch's length,
    # which may be another one later: so numbers come twice. A batch writes
    # its time first; by the clock each term finds its batch.
    clock = sorted(e.wall_time for e in found.get('time', ()))
    terms = {
        name: [
            (bisect_right(clock, e.wall_time), e.value)
            for e in sorted(entries, key=lambda e: e.wall_time)
        ]
        for name, entries in found.items()
        if name not in OTHER
    }
    if not terms:
        raise InputError('events.out.tfevents.*: hold no loss')
    return terms


def last_labels(run: Path, folders: Sequence[str] = ()) -> LabelledFiles:
    """Labels of the last round that can be read; raises InputError.

    Args:
        run: the run's folder.
        folders: of own images that the labels may be of.
    """
    paths = (run / 'pseudo_labels').glob('round-*.npz')
    paths = [p for p in paths if p.stem[6:].isdigit()]
    reason = 'pseudo_labels/: no labels of a round'
    for path in sorted(paths, key=lambda p: -int(p.stem[6:])):
        try:
            return read_labels(path, folders)
        except InputError as error:
            reason = str(error)
    raise InputError(reason)


def read_calibration(run: Path) -> dict[str, Any] | None:
    """What ``calibrate`` wrote beside the model; None where it did not.

    Raises:
        InputError: if it is of other weights than the run's model has now,
            or not as this version writes it.
    """
    model = checkpoint_file(run)
    path = model.parent / calibration.CALIBRATION
    if not path.is_file():
        return None
    found = read_json(path)
    try:
        used = found[found['basis']]
        low, high = found['interval']
        numbers = [found['threshold'], low, high]
        numbers += [used['false_accepts'], used['false_rejects']]
        for part in (found['source'], found['target']):
            for point in part['curve'] if part else ():
                names = ('threshold', 'false_accepts', 'false_rejects')
                numbers += [point[name] for name in names]
        whole = all(isinstance(number, int | float) for number in numbers)
    except (KeyError, TypeError, ValueError):
        whole = False
    name = path.relative_to(run).as_posix()
    if not whole:
        raise InputError(
            f'{name}: not as this version writes it; calibrate writes it anew'
        )
    if not calibration.belongs(found, model):
        raise InputError(
            f'{name}: not of the weights in {model.name}; calibrate writes '
            'it anew'
        )
    return found

"""Short runs in processes of their own, which say what they are doing."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from demo import CONFIG

from torchreid_daam import ImageDAAMEngine, cli
from torchreid_daam.evaluation.engine import EvaluatingEngine
from torchreid_daam.guards import GuardedLabeller
from torchreid_daam.runs.files import write_json
from torchreid_daam.runs.history import CheckpointHistory

# Every phase in some seconds; a checkpoint after each epoch.
SHORT = {
    'data.synthetic.pair': 'tiny',
    'data.height': 32,
    'data.width': 16,
    'train.batch_size': 8,
    'train.pretrain_epoch': 2,
    'train.rounds': 2,
    'train.round_epoch': 2,
    'train.epoch_length': 'max',
    'train.lr': 0.02,
    'train.checkpoint_minutes': 0,
    'device': 'cpu',
}
PHASES = (
    'pretraining',
    'extraction',
    'BatchNorm pass',
    'clustering',
    'round',
    'evaluation',
    'checkpoint write',
)
ANYWHERE = 'at any time'
# Seconds of it that a whole run took.
PROCESSOR = 'processor'
# What a run tells when the call that it is killed in begins, and ends.
BEGAN, ENDED = b'(', b')'
FORK = multiprocessing.get_context('fork')


class Kill(NamedTuple):
    """When to kill: in which call of a phase, at which share of its time."""

    phase: str
    call: int
    share: float
    workers: int


def phase_of_step(engine: ImageDAAMEngine) -> str:
    """What a training step belongs to."""
    early = engine.epoch < engine.pretrain_epoch
    return 'pretraining' if early else 'round'


@contextlib.contextmanager
def observed(begin: Callable[[str], Callable[[], None]]) -> Iterator[None]:
    """Tells when a phase's call begins; what it returns is called after."""
    places = [
        (ImageDAAMEngine, 'forward_backward', phase_of_step),
        (EvaluatingEngine, 'target_features', lambda _: 'extraction'),
        (EvaluatingEngine, 'adapt_batch_norm', lambda _: 'BatchNorm pass'),
        (EvaluatingEngine, 'scored_test', lambda _: 'evaluation'),
        (GuardedLabeller, '__call__', lambda _: 'clustering'),
        (CheckpointHistory, 'write', lambda _: 'checkpoint write'),
        (CheckpointHistory, 'write_selected', lambda _: 'checkpoint write'),
    ]
    originals = [getattr(owner, name) for owner, name, _ in places]

    def wrapped(original: Callable, phase: Callable) -> Callable:
        def method(self, *args, **kwargs):
            end = begin(phase(self))
            result = original(self, *args, **kwargs)
            end()
            return result

        return method

    for (owner, name, phase), original in zip(places, originals, strict=True):
        setattr(owner, name, wrapped(original, phase))
    try:
        yield
    finally:
        for (owner, name, _), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


def run(root: Path, folder: Path, workers: int, *more: str) -> int:
    """One run in this process, its output in a file; the exit code."""
    settings = {
        **SHORT,
        'data.root': root,
        'data.save_dir': folder,
        'data.workers': workers,
    }
    pairs = [str(part) for pair in settings.items() for part in pair]
    folder.mkdir(parents=True, exist_ok=True)
    with (
        open(folder.with_suffix('.txt'), 'a') as output,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        return cli.adapt_main(['--config-file', str(CONFIG), *pairs, *more])


def child(target: Callable, *args) -> multiprocessing.Process:
    """A process in a group of its own, so that its workers are found."""

    def main() -> None:
        os.setsid()
        os._exit(target(*args))

    process = FORK.Process(target=main)
    process.start()
    return process


def timed_run(root: Path, folder: Path, workers: int) -> int:
    """A run that notes how long each call of a phase took."""
    calls: dict[str, Any] = {phase: [] for phase in PHASES}

    def begin(phase: str) -> Callable[[], None]:
        start = time.monotonic()
        return lambda: calls[phase].append(time.monotonic() - start)

    start, before = time.monotonic(), time.process_time()
    with observed(begin):
        code = run(root, folder, workers)
    calls[ANYWHERE] = [time.monotonic() - start]
    calls[PROCESSOR] = time.process_time() - before
    write_json(folder.with_suffix('.json'), calls)
    return code


def told_run(root: Path, folder: Path, kill: Kill, told: int) -> int:
    """A run that tells when the call it is killed in begins and ends."""
    seen = 0

    def begin(phase: str) -> Callable[[], None]:
        nonlocal seen
        if phase != kill.phase:
            return lambda: None
        seen += 1
        if seen != kill.call + 1:
            return lambda: None
        os.write(told, BEGAN)
        return lambda: os.write(told, ENDED)

    end = begin(ANYWHERE)
    with observed(begin):
        code = run(root, folder, kill.workers)
    end()
    return code


def digests(folder: Path) -> dict[str, str]:
    """Of the final weights, the labels and the rows."""
    path = folder / 'checkpoints' / 'selected.pth'
    state = torch.load(path, weights_only=True)['state_dict']
    weights = hashlib.sha256()
    for name in sorted(state):
        weights.update(name.encode() + state[name].numpy().tobytes())
    found = {'weights': weights.hexdigest()}
    for name in ['results.json', 'rounds.jsonl', 'pseudo_labels/*.npz']:
        for path in sorted(folder.glob(name)):
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def unreadable(folder: Path) -> list[str]:
    """Files of a run that can't be read; temporary ones don't count."""
    readers = {
        '.pth': lambda p: torch.load(p, weights_only=True),
        '.npz': lambda p: dict(np.load(p, allow_pickle=False)),
        '.json': lambda p: json.loads(p.read_text()),
        '.jsonl': lambda p: [json.loads(x) for x in p.open()],
    }
    bad = []
    for path in folder.rglob('*'):
        if path.suffix in readers and not path.name.startswith('.'):
            try:
                readers[path.suffix](path)
            except Exception as error:  # any kind is what is looked for
                bad.append(f'{path.name}: {error}')
    return bad


def orphans(group: int) -> int:
    """Processes of a group that are left after its leader was killed.

    torch's loading processes look for their parent every five seconds.
    """
    for _ in range(80):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return 0
        time.sleep(0.1)
    return 1

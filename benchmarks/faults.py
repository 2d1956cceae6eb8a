"""Kills a run wherever it may be, resumes it, and compares the bits.

A short run that has every phase is killed (SIGKILL, from outside) at chosen
moments: a number of times in each phase, the rest at any time. Each killed
run goes on with ``model.resume auto``, and its final weights, pseudo labels
and ``results.json`` are compared with those of a run that nobody killed.

    python benchmarks/faults.py [--kills 100] [--per-phase 10] [--seed 0]

Exit code 0 only if every resumed run is equal, every file readable after the
kill, and no process left behind.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from torchreid_daam import ImageDAAMEngine, cli
from torchreid_daam.evaluation.engine import EvaluatingEngine
from torchreid_daam.guards import GuardedLabeller
from torchreid_daam.runs.history import CheckpointHistory

CONFIG = (
    Path(__file__).resolve().parents[1]
    / 'projects'
    / 'daam'
    / 'configs'
    / 'synthetic.yaml'
)
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
ANYWHERE = 'anywhere'
TIMEOUT = 300
FORK = multiprocessing.get_context('fork')


class Kill(NamedTuple):
    """When to kill: in which call of a phase, at which share of its time."""

    phase: str
    call: int
    share: float
    workers: int


class Outcome(NamedTuple):
    equal: bool
    unreadable: list[str]
    orphans: int
    landed: bool


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
    calls: dict[str, list[float]] = {phase: [] for phase in PHASES}

    def begin(phase: str) -> Callable[[], None]:
        start = time.monotonic()
        return lambda: calls[phase].append(time.monotonic() - start)

    start = time.monotonic()
    with observed(begin):
        code = run(root, folder, workers)
    calls[ANYWHERE] = [time.monotonic() - start]
    folder.with_suffix('.json').write_text(json.dumps(calls))
    return code


def told_run(root: Path, folder: Path, kill: Kill, told: int) -> int:
    """A run that writes a byte when the call it is killed in begins."""
    seen = 0

    def begin(phase: str) -> Callable[[], None]:
        nonlocal seen
        if phase == kill.phase:
            if seen == kill.call:
                os.write(told, b'!')
            seen += 1
        return lambda: None

    if kill.phase == ANYWHERE:
        os.write(told, b'!')
    with observed(begin):
        return run(root, folder, kill.workers)


def reference(root: Path, folder: Path) -> tuple[dict, dict[str, list[float]]]:
    """Digests of a whole run, and how long its calls took."""
    process = child(timed_run, root, folder, 0)
    process.join(TIMEOUT)
    if process.exitcode != 0:
        raise SystemExit(folder.with_suffix('.txt').read_text()[-2000:])
    times = json.loads(folder.with_suffix('.json').read_text())
    return digests(folder), times


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


def strike(
    root: Path, folder: Path, kill: Kill, times: dict, expected: dict
) -> Outcome:
    """One killed and resumed run."""
    reading, writing = os.pipe()
    victim = child(told_run, root, folder, kill, writing)
    os.close(writing)
    began = os.read(reading, 1)
    os.close(reading)
    calls = times[kill.phase]
    time.sleep(kill.share * calls[min(kill.call, len(calls) - 1)])
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(TIMEOUT)
    landed = bool(began) and victim.exitcode == -signal.SIGKILL
    left = orphans(victim.pid)
    bad = unreadable(folder)
    again = child(run, root, folder, kill.workers, 'model.resume', 'auto')
    again.join(TIMEOUT)
    equal = again.exitcode == 0 and digests(folder) == expected
    if equal and not bad:
        shutil.rmtree(folder)
    return Outcome(equal, bad, left, landed)


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


def plan(kills: int, per_phase: int, seed: int, times: dict) -> list[Kill]:
    """Which kills: some in each phase, the rest at any time."""
    rng = random.Random(seed)
    phases = [phase for phase in PHASES for _ in range(per_phase)]
    phases += [ANYWHERE] * (kills - len(phases))
    return [
        Kill(
            phase,
            rng.randrange(len(times[phase])),
            rng.random(),
            2 if number % 4 == 0 else 0,
        )
        for number, phase in enumerate(phases)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--per-phase', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=2, help='runs at once')
    parser.add_argument('--out', type=Path, help='keeps what was unequal')
    args = parser.parse_args()
    args.kills = max(args.kills, args.per_phase * len(PHASES))
    torch.set_num_threads(1)
    out = args.out or Path(tempfile.mkdtemp(prefix='faults-'))
    start = time.monotonic()
    expected, times = reference(out / 'data', out / 'whole')
    kills = plan(args.kills, args.per_phase, args.seed, times)
    print(
        f'a run takes {times[ANYWHERE][0]:.1f} s; {len(kills)} kills, seed '
        f'{args.seed}, one thread, {args.jobs} runs at once; torch '
        f'{torch.__version__}, Python {platform.python_version()}'
    )
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(
            pool.map(
                lambda job: strike(
                    out / 'data',
                    out / f'run-{job[0]}',
                    job[1],
                    times,
                    expected,
                ),
                enumerate(kills),
            )
        )
    report(kills, outcomes, time.monotonic() - start)
    if not args.out:
        shutil.rmtree(out)
    fine = all(
        o.equal and not o.unreadable and not o.orphans for o in outcomes
    )
    return 0 if fine else 1


def report(kills: list[Kill], outcomes: list[Outcome], seconds: float) -> None:
    """Prints a table in Markdown, a row per phase."""
    print('\n| killed in | runs | killed | equal | unreadable | left behind |')
    print('|---|---|---|---|---|---|')
    rows = dict.fromkeys([*PHASES, ANYWHERE])
    for phase in rows:
        some = [
            o for k, o in zip(kills, outcomes, strict=True) if k.phase == phase
        ]
        rows[phase] = np.array(
            [
                len(some),
                sum(o.landed for o in some),
                sum(o.equal for o in some),
                sum(len(o.unreadable) for o in some),
                sum(o.orphans for o in some),
            ]
        )
    rows['all'] = sum(rows.values())
    for name, cells in rows.items():
        if cells[0]:
            print(f'| {name} | ' + ' | '.join(map(str, cells)) + ' |')
    print(f'\n{seconds:.0f} s')
    for kill, outcome in zip(kills, outcomes, strict=True):
        if not outcome.equal or outcome.unreadable:
            print(kill, outcome, file=sys.stderr)


if __name__ == '__main__':
    raise SystemExit(main())

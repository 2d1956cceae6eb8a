"""Kills a run wherever it may be, resumes it, and compares the bits.

A short run that has every phase is killed (SIGKILL, from outside) at chosen
moments: a number of times in each phase, the rest at any time. A run tells
when the call that it is killed in begins and when it ends, so that a kill
that fell behind it is known; another run is then killed in its place. Each
killed run goes on with ``model.resume auto``, those whose kill missed too,
and its final weights, pseudo labels and ``results.json`` are compared with
those of a run that nobody killed.

    python benchmarks/faults.py [--kills 100] [--per-phase 10] [--seed 0]

With ``--out`` a campaign that was stopped goes on where it was.

Exit code 0 only if every kill fell where it was aimed at, every resumed run
is equal, every file readable after the kill, and no process left behind.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from victims import (
    ANYWHERE,
    ENDED,
    PHASES,
    PROCESSOR,
    Kill,
    child,
    digests,
    orphans,
    run,
    timed_run,
    told_run,
    unreadable,
)

import torchreid_daam
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_json
from torchreid_daam.runs.lock import owned

TIMEOUT = 300
# Runs that are killed at most until one is killed inside its call.
TRIES = 20


class Outcome(NamedTuple):
    """What one killed run came to.

    Attributes:
        killed: whether the signal ended it.
        inside: whether that was in the call it was aimed at.
        equal: whether it went on to the same bits.
        unreadable: files that could not be read after the kill.
        orphans: processes that were left behind.
    """

    killed: bool
    inside: bool
    equal: bool
    unreadable: list[str]
    orphans: int


class Campaign:
    """Killed runs below a folder; what is known already is not done again.

    Args:
        out: the folder.
        terms: what two parts of a campaign must have in common.

    Raises:
        SystemExit: if the folder holds a campaign of other terms.
    """

    def __init__(self, out: Path, terms: dict[str, Any]) -> None:
        self.out, self.seed = out, terms['seed']
        self.data, whole = out / 'data', out / 'whole'
        same = out / 'campaign.json'
        if not same.is_file():
            write_json(same, terms)
        elif json.loads(same.read_text()) != terms:
            raise SystemExit(f'{out}: holds a campaign of other terms, {same}')
        if not whole.with_suffix('.json').is_file():
            shutil.rmtree(whole, ignore_errors=True)
            process = child(timed_run, self.data, whole, 0)
            process.join(TIMEOUT)
            if process.exitcode != 0:
                text = whole.with_suffix('.txt').read_text()
                raise SystemExit(text[-2000:])
        self.times = json.loads(whole.with_suffix('.json').read_text())
        self.expected = digests(whole)

    def plan(self, kills: int, per_phase: int) -> list[Kill]:
        """Which kills: some in each phase, the rest at any time."""
        rng = random.Random(self.seed)
        phases = [phase for phase in PHASES for _ in range(per_phase)]
        phases += [ANYWHERE] * (kills - len(phases))
        return [
            Kill(
                phase,
                rng.randrange(len(self.times[phase])),
                rng.random(),
                2 if number % 4 == 0 else 0,
            )
            for number, phase in enumerate(phases)
        ]

    def outcomes(self, number: int, kill: Kill) -> list[Outcome]:
        """Of a kill and of those before it that missed."""
        known = self.out / f'kill-{number}.json'
        if known.is_file():
            return [Outcome(*parts) for parts in json.loads(known.read_text())]
        rng = random.Random(f'{self.seed} {number}')
        found: list[Outcome] = []
        while len(found) < TRIES and not (found and found[-1].inside):
            folder = self.out / f'run-{number}-{len(found)}'
            shutil.rmtree(folder, ignore_errors=True)
            found.append(self.strike(folder, kill))
            kill = kill._replace(share=rng.random())
        write_json(known, found)
        return found

    def strike(self, folder: Path, kill: Kill) -> Outcome:
        """One killed and resumed run."""
        reading, writing = os.pipe()
        victim = child(told_run, self.data, folder, kill, writing)
        os.close(writing)
        began, _, _ = select.select([reading], [], [], TIMEOUT)
        began = bool(began) and bool(os.read(reading, 1))
        time.sleep(kill.share * self.times[kill.phase][kill.call])
        victim.kill()  # SIGKILL, where it has not ended by itself
        victim.join(TIMEOUT)
        killed = victim.exitcode == -signal.SIGKILL
        # The other end may be open still, in loading processes.
        ended, _, _ = select.select([reading], [], [], 0)
        ended = bool(ended) and os.read(reading, 1) == ENDED
        os.close(reading)
        left = orphans(victim.pid)
        bad = unreadable(folder)
        again = child(
            run, self.data, folder, kill.workers, 'model.resume', 'auto'
        )
        again.join(TIMEOUT)
        equal = again.exitcode == 0 and digests(folder) == self.expected
        if equal and not bad:
            shutil.rmtree(folder)
            folder.with_suffix('.txt').unlink()
        inside = killed and began and not ended
        return Outcome(killed, inside, equal, bad, left)


def terms_of(args: argparse.Namespace) -> dict[str, Any]:
    """What makes a campaign: its plan, and the code that it is about."""
    package = Path(torchreid_daam.__file__).parent
    source = hashlib.sha256()
    for path in sorted(package.rglob('*.py')):
        source.update(path.read_bytes())
    return {
        'kills': args.kills,
        'per_phase': args.per_phase,
        'seed': args.seed,
        'source': source.hexdigest(),
        'torch': torch.__version__,
        'python': platform.python_version(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--per-phase', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=2, help='runs at once')
    parser.add_argument('--out', type=Path, help='keeps what was found out')
    args = parser.parse_args()
    args.kills = max(args.kills, args.per_phase * len(PHASES))
    torch.set_num_threads(1)
    out = args.out or Path(tempfile.mkdtemp(prefix='faults-'))
    try:
        with owned(out, '--out'):
            fine = carry_out(out, args)
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if not args.out:
        shutil.rmtree(out)
    return 0 if fine else 1


def carry_out(out: Path, args: argparse.Namespace) -> bool:
    """The campaign, and whether all went well."""
    start = time.monotonic()
    campaign = Campaign(out, terms_of(args))
    kills = campaign.plan(args.kills, args.per_phase)
    print(
        f'a run takes {campaign.times[ANYWHERE][0]:.1f} s, '
        f'{campaign.times[PROCESSOR]:.1f} s of them on a processor; '
        f'{len(kills)} kills, seed {args.seed}, one thread, {args.jobs} runs '
        f'at once; torch {torch.__version__}, Python '
        f'{platform.python_version()}',
        flush=True,
    )
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(campaign.outcomes, range(len(kills)), kills))
    report(campaign.times, kills, outcomes)
    print(f'\n{time.monotonic() - start:.0f} s')
    return all(
        tries[-1].inside
        and all(t.equal and not t.unreadable and not t.orphans for t in tries)
        for tries in outcomes
    )


def report(
    times: dict[str, list[float]],
    kills: list[Kill],
    outcomes: list[list[Outcome]],
) -> None:
    """Prints a table in Markdown, a row per phase."""
    names = ('killed', 'inside', 'equal', 'unreadable', 'left behind')
    print(f'\n| aimed at | a call, ms | runs | {" | ".join(names)} |')
    print('|---' * (3 + len(names)) + '|')
    rows = {phase: Counter() for phase in (*PHASES, ANYWHERE, 'all')}
    for kill, tries in zip(kills, outcomes, strict=True):
        for one in tries:
            cells = (
                *(1, one.killed, one.inside, one.equal),
                *(len(one.unreadable), one.orphans),
            )
            found = Counter(dict(zip(('runs', *names), cells, strict=True)))
            rows[kill.phase] += found
            rows['all'] += found
            if not one.equal or one.unreadable or one.orphans:
                print(kill, one, file=sys.stderr)
    for phase, row in rows.items():
        if row['runs']:
            calls = times.get(phase)
            ms = f'{1000 * statistics.median(calls):.0f}' if calls else ''
            numbers = (str(row[name]) for name in ('runs', *names))
            print(f'| {phase} | {ms} | {" | ".join(numbers)} |')


if __name__ == '__main__':
    raise SystemExit(main())

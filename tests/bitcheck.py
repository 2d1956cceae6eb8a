"""Does the working tree give the same bits as a commit?

``python tests/bitcheck.py REF [-- key value ...]`` runs a shortened
``synthetic.yaml`` twice, with the working tree's code and with REF's, and
compares hashes of the final weights, the pseudo labels and ``results.json``.
Settings after ``--`` go to both runs and win over the shortening. Each side
draws its own data: REF may draw other pictures.

Exit codes: 0 equal, 1 unequal, 2 no comparison (REF is not a commit, another
package would be imported, a run failed).
"""

import argparse
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
MAIN = Path('projects/daam/main.py')
CONFIG = Path('projects/daam/configs/synthetic.yaml')
# The whole schedule on the smallest embedded pair: half a minute a side.
SHORT = ['data.synthetic.pair', 'tiny', 'train.batch_size', '8']
# A GPU's sums may differ from one run to the next.
FIXED = ['device', 'cpu']
THREADS = {f'{name}_NUM_THREADS': '1' for name in ('OMP', 'MKL', 'OPENBLAS')}
Digests = dict[str, dict[str, str]]


class NoComparisonError(Exception):
    """The two sides can't be compared; says why."""


def git(*args: str) -> str:
    # Inside a git hook GIT_DIR and others point elsewhere.
    env = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
    done = subprocess.run(
        ['git', '-C', str(ROOT), '-c', 'core.hooksPath=/dev/null', *args],
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise NoComparisonError(f'git {args[0]}: {done.stderr.strip()}')
    return done.stdout.strip()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    # Not tempfile's own names: one with 3_c4 in it would look like person 3
    # under camera 4 to torchreid.
    name = f'bitcheck-{secrets.token_hex(8)}'
    folder = Path(tempfile.gettempdir()).resolve() / name
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def worktree(ref: str, folder: Path) -> Iterator[Path]:
    """REF's files in a folder; unregistered again whatever happens."""
    try:
        commit = git('rev-parse', '--verify', '--quiet', f'{ref}^{{commit}}')
    except NoComparisonError:
        raise NoComparisonError(f'{ref} is not a commit of {ROOT}') from None
    try:
        git('worktree', 'add', '--detach', str(folder), commit)
        yield folder
    finally:
        with suppress(NoComparisonError):
            git('worktree', 'remove', '--force', '--force', str(folder))


def environment(tree: Path) -> dict[str, str]:
    """One thread, and the tree's package before any installed one."""
    path = [str(tree), *filter(None, [os.environ.get('PYTHONPATH')])]
    return {**os.environ, **THREADS, 'PYTHONPATH': os.pathsep.join(path)}


def check_import(tree: Path, cwd: Path) -> None:
    """Raises unless ``torchreid_daam`` would come from the tree.

    ``-P`` keeps the current folder off the path, as a script does; an
    editable install may bring an import hook that wins over the path.
    """
    code = (
        'import importlib.util as u; '
        "print(getattr(u.find_spec('torchreid_daam'), 'origin', None))"
    )
    done = subprocess.run(
        [sys.executable, '-P', '-c', code],
        cwd=cwd,
        env=environment(tree),
        capture_output=True,
        text=True,
        check=True,
    )
    found = Path(done.stdout.split('\n')[-2])
    if found.resolve() != tree / 'torchreid_daam' / '__init__.py':
        raise NoComparisonError(
            f'torchreid_daam would be imported from {found}, not from {tree}'
        )


def run(tree: Path, folder: Path, settings: list[str]) -> Path:
    """Runs a tree's main.py from its own root; returns the run's folder."""
    folder.mkdir()
    check_import(tree, tree)
    log, out = folder / 'log.txt', folder / 'run'
    options = [*SHORT, *settings, *FIXED]
    options += ['data.root', str(folder / 'data'), 'data.save_dir', str(out)]
    with open(log, 'w', encoding='utf-8') as file:
        done = subprocess.run(
            [
                sys.executable,
                str(MAIN),
                '--config-file',
                str(CONFIG),
                *options,
            ],
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        lines = log.read_text(encoding='utf-8').splitlines()[-20:]
        tail = '\n'.join(lines)
        raise NoComparisonError(
            f'{tree / MAIN} ended with {done.returncode}:\n{tail}'
        )
    return out


def array_digest(array: np.ndarray) -> str:
    head = f'{array.dtype.str} {array.shape}'.encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def tensor_digest(tensor: torch.Tensor) -> str:
    """Of dtype, shape and bytes; also for dtypes that numpy lacks."""
    head = f'{tensor.dtype} {tuple(tensor.shape)}'.encode()
    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(head + data.tobytes()).hexdigest()


def digests(out: Path) -> Digests:
    """What a run left: item -> part -> sha256."""
    last = torch.load(
        out / 'checkpoints' / 'last.pth', map_location='cpu', weights_only=True
    )
    items = {
        'weights': {
            name: tensor_digest(value)
            for name, value in last['state_dict'].items()
        }
    }
    labels = sorted((out / 'pseudo_labels').glob('round-*.npz'))
    if not labels:
        raise NoComparisonError(f'{out} has no pseudo labels')
    for path in labels:
        with np.load(path, allow_pickle=False) as arrays:
            items[f'labels {path.stem}'] = {
                name: array_digest(arrays[name]) for name in arrays.files
            }
    text = (out / 'results.json').read_bytes()
    items['results.json'] = {'bytes': hashlib.sha256(text).hexdigest()}
    return items


def report(mine: Digests, theirs: Digests) -> bool:
    """Prints a line for each item; returns whether all are equal."""
    same = True
    for item in [*mine, *sorted(theirs.keys() - mine.keys())]:
        ours, other = mine.get(item, {}), theirs.get(item, {})
        parts = sorted(ours.keys() | other.keys())
        unequal = [p for p in parts if ours.get(p) != other.get(p)]
        whole = hashlib.sha256(repr(sorted(ours.items())).encode())
        note = whole.hexdigest()[:16]
        if unequal:
            note = f'{len(unequal)} of {len(parts)}, first: {unequal[0]}'
        print('UNEQUAL' if unequal else 'equal  ', f'{item}  ({note})')
        same = same and not unequal
    return same


def compare(ref: str, settings: list[str]) -> bool:
    found = []
    with (
        temporary_folder() as folder,
        worktree(ref, folder / 'tree') as tree,
    ):
        for title, side in (('the working tree', ROOT), (ref, tree)):
            print(f'running {title} ...', flush=True)
            start = time.monotonic()
            out = run(side, folder / f'side-{len(found)}', settings)
            print(f'  took {time.monotonic() - start:.0f} s', flush=True)
            found.append(digests(out))
    return report(*found)


def _terminated(signum: int, frame: object) -> None:
    sys.exit(128 + signum)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        epilog='Settings after -- go to both runs: -- train.rounds 1',
    )
    parser.add_argument('ref', metavar='REF', help='the commit to compare to')
    parser.add_argument('settings', nargs='*', metavar='key value')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return 0 if compare(args.ref, args.settings) else 1
    except NoComparisonError as error:
        print(f'bitcheck: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception:
        # Python's own exit code for it is 1, which means unequal here.
        traceback.print_exc()
        return 2


if __name__ == '__main__':
    sys.exit(main())

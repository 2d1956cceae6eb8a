"""The adapt command on small folders, in this process or in another."""

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
MAIN = (str(REPO / 'projects' / 'daam' / 'main.py'),)
MODULE = ('-m', 'torchreid_daam', 'adapt')
# resnet_tiny on 32 x 16 pixels, for the folders of layouts.py.
TINY = {
    'model.name': 'resnet_tiny_daam',
    'model.pretrained': False,
    'data.height': 32,
    'data.width': 16,
    'data.workers': 0,
    'train.batch_size': 4,
    'train.pretrain_epoch': 1,
    'train.pretrain_lr': 0.05,
    'train.lr': 0.02,
    'train.rounds': 1,
    'train.round_epoch': 1,
    'train.print_freq': 2,
    'train.preflight': False,
    'pseudo_labels.num_clusters': 4,
}


def arguments(
    root: Path,
    *rest: object,
    sources: tuple[str, ...] = ('market1501',),
    targets: tuple[str, ...] = ('dukemtmcreid',),
    save_dir: Path | None = None,
) -> list[str]:
    """The command's arguments for a tiny run, then ``rest``."""
    settings = {**TINY, 'data.save_dir': save_dir or Path(root) / 'run'}
    pairs = [part for pair in settings.items() for part in pair]
    return [
        *('-s', *sources, '-t', *targets, '--root', str(root)),
        *map(str, pairs),
        *map(str, rest),
    ]


def environment(**more: str) -> dict[str, str]:
    """Of a subprocess, which finds the package without installing it."""
    paths = [str(REPO), os.environ.get('PYTHONPATH', '')]
    path = os.pathsep.join(filter(None, paths))
    return {**os.environ, 'PYTHONPATH': path, **more}


def run(*args: object, door: tuple[str, ...] = MAIN, **options):
    """Runs the command in a process of its own, its output captured."""
    return subprocess.run(
        [sys.executable, *door, *map(str, args)],
        capture_output=True,
        text=True,
        env=environment(),
        **options,
    )

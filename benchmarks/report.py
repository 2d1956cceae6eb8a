"""What a report costs: ``python benchmarks/report.py [RUN ...]``.

Of runs that are there, or of one that is made for it: a target folder of as
many JPEGs as said, with a labelled part, and a few steps of training.
Seconds, processor time of all threads, and the largest resident set of the
report command, in a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PEOPLE, QUERIES, GALLERY = 500, 500, 4000
SETTINGS = {
    'model.pretrained': False,
    'data.sources': "['synthetic_source']",
    'data.synthetic.pair': 'tiny',
    'data.workers': 0,
    'pseudo_labels.num_clusters': 500,
    'train.batch_size': 8,
    'train.pretrain_epoch': 1,
    'train.rounds': 1,
    'train.round_epoch': 1,
    'train.epoch_length': 2,
}


def write(folder: Path, number: int, size: tuple[int, int]) -> None:
    """Blocks of colour by person, with noise."""
    for i in range(number):
        person = np.random.default_rng(i % PEOPLE)
        blocks = person.integers(0, 256, (16, 8, 3)).astype(np.uint8)
        image = np.asarray(Image.fromarray(blocks).resize(size[::-1]))
        rng = np.random.default_rng(PEOPLE + i)
        image = image + rng.integers(-40, 41, image.shape)
        name = f'{1 + i % PEOPLE:04d}_c{1 + i // PEOPLE % 4}_{i:06d}.jpg'
        image = np.clip(image, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / name, quality=90)


def make(folder: Path, args: argparse.Namespace) -> Path:
    """A finished run on a folder of drawn images."""
    parts = {
        'crops': args.images,
        'test/query': QUERIES,
        'test/bounding_box_test': GALLERY,
    }
    for name, number in parts.items():
        (folder / name).mkdir(parents=True)
        write(folder / name, number, (256, 128))
    settings = {
        **SETTINGS,
        'model.name': args.model,
        'data.height': args.height,
        'data.width': args.width,
        'data.root': folder / 'data',
        'data.target_test_folder': folder / 'test',
        'data.camera_pattern': r'_c(\d)_',
        'data.save_dir': folder / 'run',
    }
    words = [str(word) for pair in settings.items() for word in pair]
    command = ['-m', 'torchreid_daam', 'adapt', '--target-folder']
    subprocess.run(
        [sys.executable, *command, str(folder / 'crops'), *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder / 'run'


def measure(run: Path) -> None:
    """Reports on a run, in a process of its own, and prints what it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = ['-m', 'torchreid_daam', 'report', str(run)]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command, '--output', folder],
            stdout=subprocess.DEVNULL,
        )
        _, code, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            raise SystemExit(f'{run}: the report ended with {code}')
        page = Path(folder) / 'report.html'
        text = page.read_text(encoding='utf-8')
        size = page.stat().st_size
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes or kilobytes
    print(
        f'{run.name}: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s '
        f'of processor time, {used.ru_maxrss * unit / 1e9:.2f} GB, page of '
        f'{size / 1e6:.2f} MB, {text.count("Missing:")} parts missing'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('runs', nargs='*', type=Path)
    parser.add_argument('--images', type=int, default=20000)
    parser.add_argument('--model', default='resnet_tiny_daam')
    parser.add_argument('--height', type=int, default=64)
    parser.add_argument('--width', type=int, default=32)
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for run in args.runs or [make(Path(folder), args)]:
            for _ in range(args.repeats):
                measure(run)


if __name__ == '__main__':
    main()

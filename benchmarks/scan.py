"""How long the pre-flight scan takes: ``python benchmarks/scan.py``.

Writes JPEGs of 256 x 128 pixels into a temporary folder, then looks at all of
them as the check command does, near copies included.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from torchreid_daam.data.scan import scan_images
from torchreid_daam.data.survey import (
    exact_copies,
    hash_version,
    near_copies,
)
from torchreid_daam.data.tree import find_images


def write(folder: Path, number: int) -> None:
    """Blocks of colour with noise, about 10 KB each."""
    for i in range(number):
        rng = np.random.default_rng(i)
        small = rng.integers(0, 256, (16, 8, 3)).astype(np.uint8)
        image = np.asarray(Image.fromarray(small).resize((128, 256)))
        image = image + rng.integers(-10, 11, image.shape)
        image = np.clip(image, 0, 255).astype(np.uint8)
        path = folder / f'cam{i % 4}' / f'{i:06d}.jpg'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path, quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=20000)
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    if not hash_version():
        print('without ImageHash: near copies are not looked for')
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.images)
        size = sum(p.stat().st_size for p in Path(folder).rglob('*.jpg'))
        print(f'{args.images} files, {size / args.images / 1e3:.1f} KB each')
        times = [time.perf_counter()]
        images = find_images([folder], 'folder')
        times.append(time.perf_counter())
        paths = [image.path for image in images]
        looks = [*scan_images(paths, folder, folder, args.workers).values()]
        times.append(time.perf_counter())
        near = near_copies(looks)
        copies = exact_copies(looks)
        times.append(time.perf_counter())
    for name, seconds in zip(
        ('finding', 'looking', 'comparing'), np.diff(times), strict=True
    ):
        print(f'{name:<10} {seconds:6.1f} s')
    print(f'{"all":<10} {times[-1] - times[0]:6.1f} s, {args.workers} workers')
    print(f'{copies} exact copies, {len(near or [])} near copies')


if __name__ == '__main__':
    main()

"""Small folders of images: Market-1501's layout, DukeMTMC-reID's, cameras."""

import random
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ('bounding_box_train', 'query', 'bounding_box_test')
MARKET = 'market1501/Market-1501-v15.09.15'
DUKE = 'dukemtmc-reid/DukeMTMC-reID'


def market_name(pid: int, camera: int, shot: int) -> str:
    return f'{pid:04d}_c{camera}s1_{shot:06d}_00.jpg'


def duke_name(pid: int, camera: int, shot: int) -> str:
    return f'{pid:04d}_c{camera}_f{shot:07d}.jpg'


def picture(pid: int, camera: int, shot: int, size=(16, 32)) -> Image.Image:
    """A noisy rectangle in a colour of the person, tinted by the camera."""
    generator = np.random.default_rng((pid, camera, shot))
    colour = np.random.default_rng(pid).integers(40, 200, 3)
    noise = generator.integers(-20, 20, (size[1], size[0], 3))
    pixels = np.clip(colour + 10 * camera + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def write_layout(folder, name, ids=4, shots=2, cameras=2, first=1) -> Path:
    """Trains on ``ids`` people; as many others are query and gallery.

    Args:
        folder: where the three parts go.
        name: ``market_name`` or ``duke_name``.
        ids: people in training, and people in the test.
        shots: images of each in each camera; the first one is the query.
        cameras: of everybody.
        first: number of the first person.
    """
    folder = Path(folder)
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    for pid in range(first, first + 2 * ids):
        for camera in range(1, cameras + 1):
            for shot in range(1, shots + 1):
                part = 'query' if shot == 1 else 'bounding_box_test'
                if pid < first + ids:
                    part = 'bounding_box_train'
                path = folder / part / name(pid, camera, shot)
                picture(pid, camera, shot).save(path, quality=95)
    return folder


def write_market(root, **knobs) -> Path:
    """Market-1501 below a data root."""
    return write_layout(Path(root) / MARKET, market_name, **knobs)


def write_duke(root, **knobs) -> Path:
    """DukeMTMC-reID below a data root; other people."""
    return write_layout(
        Path(root) / DUKE, duke_name, **{'first': 101, **knobs}
    )


def put(path, pid=1, camera=1, shot=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(pid, camera, shot).save(path, format='PNG')
    return path


def crops(folder, people=6, cameras=2, shots=2):
    """Crops of some people, a subfolder per camera, names that say nothing."""
    names = iter(random.Random(0).sample(range(1000, 9999), 500))
    for camera in range(1, cameras + 1):
        for pid in range(1, people + 1):
            for shot in range(shots):
                name = f'cam{camera}/{next(names)}.jpg'
                put(folder / name, pid, camera, shot)
    return folder

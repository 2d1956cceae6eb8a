"""How time grows with the number of images, as slopes and as a plot.

CMC and mAP at 1,000 fixed queries, k-means at fixed K and iterations, and
extraction of JPEGs with resnet_tiny. The slope is that of a straight line
through log time over log images: 1 is in proportion.

    python benchmarks/growth.py [--images 1000 ...] [--plot docs/performance]
"""

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from clustering import drawn
from matplotlib.figure import Figure
from measuring import measured, where
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from torchreid_daam import build_daam
from torchreid_daam.delivery.features import extract, image_transform
from torchreid_daam.evaluation.ranks import evaluate_rank
from torchreid_daam.pseudo_labels import assign

QUERIES, CLUSTERS, ITERATIONS, FILES = 1000, 500, 10, 1000
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def ranks(images: int) -> Callable[[], object]:
    """A gallery of so many images."""
    generator = np.random.default_rng(0)
    pids = generator.integers(0, max(2, images // 20), images)
    cameras = generator.integers(0, 6, images)
    case = (
        generator.random((QUERIES, images), dtype=np.float32),
        pids[generator.integers(0, images, QUERIES)],
        pids,
        generator.integers(0, 6, QUERIES),
        cameras,
    )
    return partial(evaluate_rank, *case)


def kmeans(images: int) -> Callable[[], object]:
    """The labeller's parts, ended after so many iterations."""
    features = drawn(images)

    def call() -> object:
        found = KMeans(
            CLUSTERS, n_init=1, max_iter=ITERATIONS, tol=0.0, random_state=0
        )
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            centers = found.fit(features).cluster_centers_
        return assign(features, centers)

    return call


def extraction(images: int, folder: Path) -> Callable[[], object]:
    """Some files, again and again; the system keeps them in memory."""
    model = build_daam('resnet_tiny', 2, 2, pretrained=False, seed=0).eval()
    paths = [str(folder / f'{i % FILES}.jpg') for i in range(images)]
    return partial(extract, model, paths, image_transform(64, 32, MEAN, STD))


def write(folder: Path) -> None:
    """JPEGs of 128 x 64 pixels."""
    generator = np.random.default_rng(0)
    for i in range(FILES):
        pixels = generator.integers(0, 256, (16, 8, 3)).astype(np.uint8)
        image = Image.fromarray(pixels).resize((64, 128))
        image.save(folder / f'{i}.jpg', quality=90)


def plot(times: dict[str, list[float]], images: list[int], out: Path) -> None:
    """PNG and PDF, with a line of slope 1."""
    with mpl.rc_context({'font.size': 9}):
        figure = Figure(figsize=(5, 3.4), layout='constrained')
        axis = figure.add_subplot()
        for (name, found), marker in zip(times.items(), 'osv', strict=True):
            axis.loglog(images, found, marker=marker, label=name)
        first = min(found[0] for found in times.values())
        axis.loglog(
            images,
            [first * n / images[0] for n in images],
            color='0.6',
            linestyle=':',
            label='in proportion',
        )
        axis.set(xlabel='images', ylabel='seconds')
        axis.legend(frameon=False)
    out.mkdir(parents=True, exist_ok=True)
    for ending in ('png', 'pdf'):
        figure.savefig(out / f'growth.{ending}', dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--images',
        type=int,
        nargs='+',
        default=[1000, 3000, 10_000, 30_000, 100_000],
    )
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--plot', type=Path, help='folder')
    args = parser.parse_args()
    print(where(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        kinds = {
            'CMC and mAP': ranks,
            'k-means': kmeans,
            'extraction': partial(extraction, folder=Path(folder)),
        }
        times: dict[str, list[float]] = {}
        for name, make in kinds.items():
            times[name] = []
            make(args.images[0])()  # what is loaded at a first call
            for number in args.images:
                call = make(number)
                runs = [measured(call) for _ in range(args.repeats)]
                times[name].append(statistics.median(r.seconds for r in runs))
                peak = max(run.peak for run in runs)
            slope = np.polyfit(np.log(args.images), np.log(times[name]), 1)[0]
            found = ', '.join(f'{second:.3g}' for second in times[name])
            print(
                f'{name:12s} slope {slope:.2f}; seconds {found}; '
                f'{peak:.0f} MB at most',
                flush=True,
            )
    print(f'at {", ".join(map(str, args.images))} images')
    if args.plot:
        plot(times, args.images, args.plot)


if __name__ == '__main__':
    main()

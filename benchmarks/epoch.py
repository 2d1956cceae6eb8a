"""Whether loading keeps up: an epoch of a round against its steps alone.

JPEGs on disk go through the engine's own loaders, augmentation and steps on
both domains; the reference are as many of the same steps on a batch that is
there already. Printed are images per second of both, in turn, without a
cache and with one, and of extracting the target's features against the model
alone.

    python benchmarks/epoch.py [--model resnet50] [--workers 16]
"""

import argparse
import contextlib
import io
import itertools
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import in_turn, where
from PIL import Image

from torchreid_daam import get_default_config
from torchreid_daam.config import merge_options
from torchreid_daam.job import Job, prepare

PEOPLE, CLUSTERS = 50, 50


def write(folder: Path, images: int) -> None:
    """A labelled folder and one of crops, JPEGs of 256 x 128 pixels."""
    for i in range(images):
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 256, (16, 8, 3)).astype(np.uint8)
        image = Image.fromarray(pixels).resize((128, 256))
        person = folder / 'source' / f'{i % PEOPLE:04d}'
        for path in (person, folder / 'crops'):
            path.mkdir(parents=True, exist_ok=True)
            image.rotate(180 * (path == person)).save(
                path / f'c{i % 4}_{i:06d}.jpg', quality=90
            )


def job(folder: Path, args: argparse.Namespace, cache: str) -> Job:
    """A run's engine on the drawn folders, labels set."""
    settings = {
        'model.name': f'{args.model}_daam',
        'model.pretrained': False,
        'data.root': folder,
        'data.sources': "['source_folder']",
        'data.source_folder': folder / 'source',
        'data.targets': "['target_folder']",
        'data.target_folder': f"['{folder / 'crops'}']",
        'data.height': args.height,
        'data.width': args.width,
        'data.workers': args.workers,
        'data.cache': cache,
        'data.save_dir': folder / 'log',
        'pseudo_labels.num_clusters': CLUSTERS,
        'train.batch_size': args.batch,
        'train.precision': args.precision,
        'train.channels_last': args.channels_last,
        'test.batch_size': args.batch,
    }
    cfg = get_default_config()
    merge_options(cfg, [str(w) for pair in settings.items() for w in pair])
    with contextlib.redirect_stdout(io.StringIO()):
        made = prepare(cfg, write=False)
    target = made.engine.domains.target
    target.set_labels(np.arange(len(target.cameras)) % CLUSTERS)
    target.set_labels(target.labels, np.ones(len(target.cameras)))
    return made


def measure(made: Job, repeats: int, name: str) -> None:
    """Prints the lines of one kind of cache."""
    engine = made.engine
    loader = engine.domains.adaptation
    number = itertools.count()

    def begin() -> None:
        loader.set_epoch('adapt', 1, next(number))
        engine.set_model_mode('train')
        engine.epoch = made.cfg.train.pretrain_epoch
        engine.num_batches = len(loader)

    def epoch() -> None:
        begin()
        for engine.batch_idx, batch in enumerate(loader):
            engine.forward_backward(batch)

    begin()
    ready = next(iter(loader))
    images = 2 * made.cfg.train.batch_size * len(loader)

    def steps() -> None:
        begin()
        for engine.batch_idx in range(len(loader)):
            engine.forward_backward(ready)

    crops = len(engine.domains.target_items)
    looked = next(iter(engine.domains.target_pass())).to(engine.device)

    @torch.no_grad()
    def model_alone() -> None:
        engine.set_model_mode('eval')
        for _ in range(0, crops, len(looked)):
            engine.model(looked).cpu()

    epoch()  # fills the cache, starts the workers
    for what, ours, alone, count in (
        ('epoch', epoch, steps, images),
        ('features', engine.target_features, model_alone, crops),
    ):
        runs = in_turn({'ours': ours, 'alone': alone}, repeats)
        pairs = list(zip(runs['ours'], runs['alone'], strict=True))
        ratios = sorted(b.seconds / a.seconds for a, b in pairs)
        rates = [
            count / statistics.median(run.seconds for run in runs[kind])
            for kind in ('ours', 'alone')
        ]
        print(
            f'{what:9s} cache {name:5s} {rates[0]:7.1f} images/s, '
            f'alone {rates[1]:7.1f}: {statistics.median(ratios):.3f} '
            f'({ratios[0]:.3f} to {ratios[-1]:.3f})  '
            f'{max(run.peak for run in runs["ours"]):.0f} MB',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--model', default='resnet18')
    parser.add_argument('--height', type=int, default=256)
    parser.add_argument('--width', type=int, default=128)
    parser.add_argument('--images', type=int, default=320, help='a domain')
    parser.add_argument('--batch', type=int, default=32, help='of a domain')
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--precision', default='fp32')
    parser.add_argument('--channels-last', action='store_true')
    args = parser.parse_args()
    print(where(), flush=True)
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else (f'CPU, {torch.get_num_threads()} threads')
    )
    print(
        f'{device}; {args.model}_daam, {args.precision}, {args.height}x'
        f'{args.width}, batches of {args.batch} of each domain, '
        f'{args.images} JPEGs each, {args.workers} workers'
    )
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.images)
        for cache in ('none', 'ram'):
            measure(job(Path(folder), args, cache), args.repeats, cache)


if __name__ == '__main__':
    main()

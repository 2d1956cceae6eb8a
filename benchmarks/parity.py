"""How far exported files are from their models, by backbone.

Each backbone is trained for some steps on the embedded data as the demo is:
two epochs on the source, one round of 30 steps with target statistics. Its
run is exported by the export command in every precision; the figures are
those of its proof, over batches of 1, 2 and 17 random and real images.
``--force`` is given, so that what fp16 and int8 cost is told where they would
be refused.

Rounding by itself is told too: torch's own distance from the same model in
float64, and how far float64 moves when each pixel of the input is rounded up
or down, by half of a float32's last place. ``--untrained`` does that for
random weights.

    python benchmarks/parity.py --backbones resnet18 resnet18:1
    python benchmarks/parity.py --untrained --backbones resnet50
"""

import argparse
import contextlib
import copy
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

import torchreid_daam
from torchreid_daam import DAAM, build_daam, load_model
from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.config import (
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.delivery import parity
from torchreid_daam.delivery.graph import Embedding, to_onnx, to_torchscript
from torchreid_daam.delivery.runtime import Extractor, from_module, open_file
from torchreid_daam.errors import one_line
from torchreid_daam.export_run import Wish, export_run
from torchreid_daam.randomness import key_generator

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / 'projects' / 'daam' / 'configs' / 'synthetic.yaml'
BACKBONES = (
    *('resnet18:1', 'resnet18', 'resnet50:1', 'resnet50'),
    *('resnet50_ibn_a:1', 'resnet50_ibn_a'),
    *('osnet_x1_0', 'osnet_x0_25', 'mobilenetv2_x1_0'),
)
FORMATS = (
    ('onnx', 'fp32'),
    ('onnx', 'fp16'),
    ('onnx', 'int8'),
    ('torchscript', 'fp32'),
)
ROUNDING = 2.0**-24  # of a float32, relative to its size


def split_name(name: str) -> tuple[str, int]:
    """``resnet50:1`` is a ResNet-50 of last_stride 1."""
    backbone, _, stride = name.partition(':')
    return backbone, int(stride or 0)


def noise(count: int, size: tuple[int, int]) -> np.ndarray:
    """Random images (count, 3, H, W)."""
    generator = key_generator('benchmark', count)
    return generator.standard_normal((count, 3, *size), np.float32)


def trained(
    name: str, out: Path, options: list[str]
) -> tuple[Path, tuple[int, int]]:
    """A run's folder and its size; a complete run is not repeated."""
    backbone, last_stride = split_name(name)
    folder = out / name.replace(':', '-')
    cfg = get_default_config()
    merge_file(cfg, str(CONFIG))
    short = {
        'model.name': f'{backbone}_daam',
        'model.last_stride': last_stride,
        'data.save_dir': folder,
        'train.pretrain_epoch': 2,
        'train.pretrain_stepsize': [1],
        'train.rounds': 1,
        'train.round_epoch': 3,
        'train.stepsize': [2],
        'model.resume': 'auto',
    }
    merge_options(cfg, [str(word) for pair in short.items() for word in pair])
    merge_options(cfg, options)
    out.mkdir(parents=True, exist_ok=True)
    log = out / f'{folder.name}.txt'
    with open(log, 'a') as file, contextlib.redirect_stdout(file):
        torchreid_daam.adapt(cfg)
    return folder, (cfg.data.height, cfg.data.width)


def proved(run: Path, format_: str, precision: str) -> str:
    """The cells of one file: worst difference and cosine, mAP, size, time."""
    wish = Wish(str(run), format_, precision, output=str(run / 'parity'))
    try:
        told = export_run(wish._replace(force=True)).metadata
    except parity.ParityError as error:
        return f'refused: {one_line(error)}'
    rows, against = told['parity'], told.get('against_fp32')
    cells = [
        f'{told["bytes"] / 1e6:.2f}',
        *(_worst(rows, kind) for kind in ('random', 'real')),
        *(f'{s["model"]:.3f} | {s["change"]:+.3f}' for s in told['mAP']),
    ]
    for batch in ('ms_batch_1', 'ms_batch_32'):
        cells.append(_ratio(against[batch]) if against else '')
    return ' | '.join(cells)


def _worst(rows: list[dict], kind: str) -> str:
    rows = [row for row in rows if row['images'] == kind]
    difference = max(row['max_difference'] for row in rows)
    cosine = min(row['min_cosine'] for row in rows)
    return f'{difference:.1e} | {1 - cosine:.0e}'


def _ratio(pair: list[float]) -> str:
    return f'{pair[0] / pair[1]:.2f}'


def untrained(name: str, size: tuple[int, int]) -> str:
    """One line of the table of rounding.

    BatchNorm statistics fit the images. As torch initialises them, the
    signal dies on the way, and all images get the same vector.
    """
    backbone, last_stride = split_name(name)
    model = build_daam(
        backbone, 2, 2, pretrained=False, seed=0, last_stride=last_stride
    )
    adapt_batch_norm(model, [torch.from_numpy(noise(16, size))])
    model.eval()
    files = {
        'onnx': to_onnx(Embedding(model), size),
        'torchscript': to_torchscript(Embedding(model), size),
    }
    opened = {kind: open_file(kind, file) for kind, file in files.items()}
    images, single = noise(max(parity.BATCHES), size), from_module(model)
    cells = [f'{len(files["onnx"]) / 1e6:.1f}']
    cells += [distance(single, opened[kind], images) for kind in files]
    return ' | '.join([*cells, rounding(model, images)])


def distance(one: Extractor, other: Extractor, images: np.ndarray) -> str:
    """The largest difference of unit vectors."""
    rows = parity.compare(one, other, {'random': images})
    return f'{max(row.max_difference for row in rows):.1e}'


def rounding(model: DAAM, images: np.ndarray) -> str:
    """Two cells: float32 against float64, and a rounded input in float64."""
    double = copy.deepcopy(model).double()
    exact = from_module(lambda x: double(x.double()))
    own = distance(exact, from_module(model), images)
    return f'{own} | {distance(exact, lambda x: exact(nudged(x)), images)}'


def nudged(images: np.ndarray) -> np.ndarray:
    """Each value up or down by half of a float32's last place, in float64."""
    signs = key_generator('nudge').choice([-1, 1], images.shape)
    return images * (1 + ROUNDING * signs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--backbones', nargs='+', default=BACKBONES)
    parser.add_argument('--untrained', action='store_true')
    parser.add_argument('--out', type=Path, default=Path('log/parity'))
    parser.add_argument(
        '--size', type=int, nargs=2, default=[128, 64], metavar=('H', 'W')
    )
    args, options = parser.parse_known_args()
    if args.untrained:
        print(
            '| backbone | MB | onnx to torch | torchscript to torch | torch '
            'to float64 | float64, input rounded |\n|---|---|---|---|---|---|'
        )
        for name in args.backbones:
            print(f'| {name} | {untrained(name, tuple(args.size))} |')
        return
    print(
        '| backbone | file | MB | random: difference | 1 - cosine | real: '
        'difference | 1 - cosine | mAP | change | times as fast, batch 1 | '
        'batch 32 |\n|---|---|---|---|---|---|---|---|---|---|---|'
    )
    own = []
    for name in args.backbones:
        run, size = trained(name, args.out, options)
        for format_, precision in FORMATS:
            file = precision if format_ == 'onnx' else format_
            print(f'| {name} | {file} | {proved(run, format_, precision)} |')
        images = noise(max(parity.BATCHES), size)
        own.append(f'| {name} | {rounding(load_model(run), images)} |')
        sys.stdout.flush()
        shutil.rmtree(run / 'parity', ignore_errors=True)
    print('\n| backbone | torch to float64 | float64, input rounded |')
    print('|---|---|---|', *own, sep='\n')


if __name__ == '__main__':
    main()

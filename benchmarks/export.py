"""Milliseconds of a batch: onnxruntime on an export against torch's eval mode.

Both run in one process on the same thread count and images, taking turns.
Weights are random: they don't change what a batch costs. Whether a file is
right is another question, see ``parity.py``.

    OMP_NUM_THREADS=1 python benchmarks/export.py --backbones resnet18
"""

import argparse
import importlib.metadata
import platform
from collections.abc import Sequence

import numpy as np
import torch

from torchreid_daam import DAAM, build_daam
from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.delivery.graph import Embedding, to_onnx
from torchreid_daam.delivery.runtime import from_module, open_file
from torchreid_daam.delivery.timing import measure
from torchreid_daam.randomness import key_generator


def build(name: str, size: tuple[int, int]) -> DAAM:
    """A model in eval mode; ``resnet50:1`` has last_stride 1.

    Its BatchNorm statistics fit the images. As torch initialises them, the
    signal dies on the way, and all images get the same vector.
    """
    backbone, _, stride = name.partition(':')
    last_stride = int(stride or 0)
    model = build_daam(
        backbone, 2, 2, pretrained=False, seed=0, last_stride=last_stride
    )
    adapt_batch_norm(model, [torch.from_numpy(noise(16, size))])
    return model.eval()


def noise(count: int, size: tuple[int, int]) -> np.ndarray:
    """Random images (count, 3, H, W)."""
    generator = key_generator('benchmark', count)
    return generator.standard_normal((count, 3, *size), np.float32)


def spread(times: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    return f'{np.median(times):.2f} ({min(times):.2f} to {max(times):.2f})'


def compare(
    backbone: str, batch: int, size: tuple[int, int], repeats: int
) -> str:
    """One line of the table."""
    model = build(backbone, size)
    extractors = {
        'torch': from_module(model),
        'onnxruntime': open_file('onnx', to_onnx(Embedding(model), size)),
    }
    times = measure(extractors, noise(batch, size), repeats)
    pairs = zip(times['torch'], times['onnxruntime'], strict=True)
    ratios = [slow / fast for slow, fast in pairs]
    return (
        f'| {backbone} | {batch} | {spread(times["torch"])} '
        f'| {spread(times["onnxruntime"])} | {spread(ratios)} |'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--backbones', nargs='+', default=['resnet_tiny', 'resnet18']
    )
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 32])
    parser.add_argument(
        '--size', type=int, nargs=2, default=[256, 128], metavar=('H', 'W')
    )
    parser.add_argument('--repeats', type=int, default=9)
    args = parser.parse_args()
    versions = ', '.join(
        f'{name} {importlib.metadata.version(name)}'
        for name in ('torch', 'onnxruntime')
    )
    print(
        f'CPU, {torch.get_num_threads()} threads; {versions}, Python '
        f'{platform.python_version()}; {args.size[0]}x{args.size[1]}, '
        f'{args.repeats} repeats in turn\n'
    )
    size = tuple(args.size)
    print('| backbone | batch | torch, ms | onnxruntime, ms | times as fast |')
    print('|---|---|---|---|---|')
    for backbone in args.backbones:
        for batch in args.batches:
            print(compare(backbone, batch, size, args.repeats), flush=True)


if __name__ == '__main__':
    main()

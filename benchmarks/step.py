"""What a training step of DAAM costs against its bare backbone.

Ours is the step of the engine: joining the two domains' batches, keys, all
terms of Eq. 12, the look at the loss and its gradients. The reference is the
same backbone on the same batch: ``featuremaps``, a sum, backward, the same
optimiser. Both are timed in turn in one process; the figure is the median of
the repeats' ratios.

    python benchmarks/step.py [--batch 64] [--repeats 5] [--steps 1]
"""

import argparse
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable

import torch

from torchreid_daam import DAAMLoss, build_daam
from torchreid_daam.epochs import Epochs
from torchreid_daam.step import Step

HEIGHT, WIDTH = 256, 128
IDENTITIES, CLUSTERS = 751, 650


def daam_step(backbone: str, images: torch.Tensor) -> Callable[[], None]:
    """The engine's step on a joint batch, all terms of Eq. 12 on."""
    model = build_daam(
        backbone, IDENTITIES, CLUSTERS, pretrained=False, seed=0
    ).to(images.device)
    train = Step(model, _optimizer(model), DAAMLoss(), Epochs(0, 1, 1), 0)
    half = len(images) // 2
    shared = {'pid': torch.arange(half), 'impath': [''] * half}
    data = {
        'source': {'img': images[::2].contiguous(), **shared},
        'target': {
            'img': images[1::2].contiguous(),
            'weight': torch.full((half,), 0.4),
            **shared,
        },
    }
    return lambda: train(data, lambda imgs, _: model(imgs), 0, 0, 1)


def bare_step(backbone: str, images: torch.Tensor) -> Callable[[], None]:
    """A step of the backbone alone, without its classifier."""
    model = build_daam(backbone, 1, 1, pretrained=False, seed=0).backbone
    model = model.to(images.device).train()
    optimizer = _optimizer(model)

    def step() -> None:
        loss = model.featuremaps(images).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4
    )


def seconds(step: Callable[[], None], steps: int) -> float:
    """Mean seconds of a few steps."""
    _synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _synchronize()
    return (time.perf_counter() - start) / steps


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(backbone: str, batch: int, repeats: int, steps: int) -> None:
    """Prints one line for a backbone."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, HEIGHT, WIDTH, generator=generator)
    images = images.to(device)
    ours, bare = daam_step(backbone, images), bare_step(backbone, images)
    for step in (ours, bare):
        step()  # allocations and kernel choice
    pairs = []
    for repeat in range(repeats):
        order = (ours, bare) if repeat % 2 else (bare, ours)
        times = {step: seconds(step, steps) for step in order}
        pairs.append((times[ours], times[bare]))
    ratios = sorted(a / b for a, b in pairs)
    print(
        f'{backbone + "_daam":16s} {statistics.median(ratios):.3f} '
        f'({ratios[0]:.3f} to {ratios[-1]:.3f})  '
        f'{statistics.median(a for a, _ in pairs):.3f} s against '
        f'{statistics.median(b for _, b in pairs):.3f} s',
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=64, help='images')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--steps', type=int, default=1, help='in a repeat')
    parser.add_argument(
        '--backbones', nargs='+', default=['resnet18', 'resnet50']
    )
    args = parser.parse_args()
    where = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f'CPU, {torch.get_num_threads()} threads'
    )
    print(
        f'{where}; torch {torch.__version__}, torchreid '
        f'{importlib.metadata.version("torchreid")}, Python '
        f'{platform.python_version()}; batch {args.batch} of '
        f'{HEIGHT}x{WIDTH}, {args.repeats} repeats of {args.steps} steps, '
        'in turn'
    )
    print('step            ratio, median (lowest to highest)')
    for backbone in args.backbones:
        measure(backbone, args.batch, args.repeats, args.steps)


if __name__ == '__main__':
    main()

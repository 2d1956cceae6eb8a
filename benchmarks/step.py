"""What a training step of DAAM costs against its bare backbone.

Ours is the step of the engine: joining the two domains' batches, keys, all
terms of Eq. 12, the look at the loss and its gradients. The reference is the
same backbone on the same batch: ``featuremaps``, a sum, backward, the same
optimiser. Both are timed in turn in one process; the figure is the median of
the repeats' ratios.

With ``--stock`` also: pretraining's step on a batch of the source in our best
settings against the step of torchreid's own softmax engine on the same images,
and in its form (float32, its layout of memory).

    python benchmarks/step.py [--batch 64] [--repeats 5] [--steps 1] [--stock]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torchreid
from measuring import measured, where

from torchreid_daam import DAAMLoss, build_daam
from torchreid_daam.epochs import Epochs
from torchreid_daam.optim import fused
from torchreid_daam.precision import PRECISIONS, Precision
from torchreid_daam.randomness import reproducible_gpu
from torchreid_daam.step import Step

WIDTH = 128
IDENTITIES, CLUSTERS = 751, 650


class Form(NamedTuple):
    """Precision and layout that both steps of a pair have."""

    precision: str = 'fp32'
    channels_last: bool = False

    def placed(
        self, model: torch.nn.Module, images: torch.Tensor
    ) -> torch.nn.Module:
        """The model in this layout beside the images."""
        layout = torch.contiguous_format
        if self.channels_last:
            layout = torch.channels_last
        return model.to(images.device, memory_format=layout)

    def arithmetic(self, images: torch.Tensor) -> Precision:
        """As the engine has it."""
        return Precision(self.precision, images.device.type)

    def __str__(self) -> str:
        return f'{self.precision}{", channels_last" * self.channels_last}'


PLAIN = Form()


def daam_step(
    backbone: str, images: torch.Tensor, form: Form = PLAIN
) -> Callable[[], None]:
    """The engine's step on a joint batch, all terms of Eq. 12 on."""
    model = build_daam(
        backbone, IDENTITIES, CLUSTERS, pretrained=False, seed=0
    )
    model = form.placed(model, images)
    train = Step(
        model,
        _own_optimizer(model),
        DAAMLoss(),
        Epochs(0, 1, 1),
        0,
        precision=form.arithmetic(images),
    )
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


def source_step(
    backbone: str, images: torch.Tensor, form: Form
) -> Callable[[], None]:
    """The engine's step of pretraining, in some form."""
    model = build_daam(backbone, IDENTITIES, 1, pretrained=False, seed=0)
    model = form.placed(model, images)
    train = Step(
        model,
        _own_optimizer(model),
        DAAMLoss(),
        Epochs(1, 0, 1),
        0,
        precision=form.arithmetic(images),
    )
    pids = torch.arange(len(images)) % IDENTITIES
    data = {'source': {'img': images, 'pid': pids, 'impath': []}}
    return lambda: train(data, lambda imgs, _: model(imgs), 0, 0, 1)


def stock_step(backbone: str, images: torch.Tensor) -> Callable[[], None]:
    """A step of torchreid's softmax engine on its own model."""
    model = torchreid.models.build_model(
        backbone, IDENTITIES, loss='softmax', pretrained=False
    )
    model = model.to(images.device).train()
    datamanager = SimpleNamespace(
        train_loader=None, test_loader=None, num_train_pids=IDENTITIES
    )
    engine = torchreid.engine.ImageSoftmaxEngine(
        datamanager, model, _optimizer(model), use_gpu=images.is_cuda
    )
    pids = torch.arange(len(images)) % IDENTITIES
    return lambda: engine.forward_backward({'img': images, 'pid': pids})


def bare_step(
    backbone: str, images: torch.Tensor, form: Form = PLAIN
) -> Callable[[], None]:
    """A step of the backbone alone, without its classifier."""
    model = build_daam(backbone, 1, 1, pretrained=False, seed=0).backbone
    model = form.placed(model, images).train()
    optimizer = _own_optimizer(model)
    precision = form.arithmetic(images)

    def step() -> None:
        with precision.forward():
            loss = model.featuremaps(images).float().sum()
        optimizer.zero_grad()
        precision.backward(loss, {'loss': loss})
        precision.step(optimizer)

    return step


def _own_optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    """As a run has it, fused on a GPU; the bare backbone gets the same."""
    optimizer = _optimizer(model)
    return fused(optimizer) if torch.cuda.is_available() else optimizer


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


def drawn(batch: int, height: int) -> torch.Tensor:
    """A batch of noise on the device."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, height, WIDTH, generator=generator)
    return images.to(device)


def measure(
    name: str,
    ours: Callable[[], None],
    bare: Callable[[], None],
    repeats: int,
    steps: int,
) -> None:
    """Prints one line for two steps that are timed in turn."""
    for step in (ours, bare):
        step()  # allocations and kernel choice
    pairs = []
    for repeat in range(repeats):
        order = (ours, bare) if repeat % 2 else (bare, ours)
        times = {step: seconds(step, steps) for step in order}
        pairs.append((times[ours], times[bare]))
    ratios = sorted(a / b for a, b in pairs)
    print(
        f'{name:34s} {statistics.median(ratios):.3f} '
        f'({ratios[0]:.3f} to {ratios[-1]:.3f})  '
        f'{statistics.median(a for a, _ in pairs):.3f} s against '
        f'{statistics.median(b for _, b in pairs):.3f} s, '
        f'{measured(ours).peak:.0f} MB against {measured(bare).peak:.0f} MB',
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
    parser.add_argument('--height', type=int, default=256)
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--stock', action='store_true')
    args = parser.parse_args()
    if torch.cuda.is_available():
        reproducible_gpu()  # as a run has it
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ''
    print(where())
    print(
        f'{device or "CPU"}; batch {args.batch} of {args.height}x{WIDTH}, '
        f'{args.repeats} repeats of {args.steps} steps, in turn'
    )
    images = drawn(args.batch, args.height)
    form = Form(args.precision, args.channels_last)
    how = (args.repeats, args.steps)
    print(f'{"step":34s} seconds over those of the bare backbone')
    for backbone in args.backbones:
        ours = daam_step(backbone, images, form)
        bare = bare_step(backbone, images, form)
        measure(f'{backbone}_daam, {form}', ours, bare, *how)
    if not args.stock:
        return
    print(f'{"step on the source":34s} seconds over those of torchreid')
    forms = [PLAIN, Form('fp32', True), Form('bf16', True)]
    if torch.cuda.is_available():
        forms.append(Form('fp16', True))
    for backbone in args.backbones:
        theirs = stock_step(backbone, images)
        for form in forms:
            ours = source_step(backbone, images, form)
            measure(f'{backbone}_daam, {form}', ours, theirs, *how)


if __name__ == '__main__':
    main()

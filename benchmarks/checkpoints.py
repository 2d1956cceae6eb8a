"""What checkpoints cost: their share of the demo and of a large epoch.

The demo runs once with its own settings (and again with a checkpoint after
each epoch); the time inside its checkpoint writes is set against the whole
run's. For ResNet-50, one write with momentum is set against an epoch of a
given number of steps, whose time is that of a few steps measured here.

    python benchmarks/checkpoints.py [--root reid-data] [--skip-demo]
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from demo import CONFIG
from step import daam_step

from torchreid_daam import build_daam, cli
from torchreid_daam.runs import history
from torchreid_daam.runs.checkpoint import training_state

# Images of Market-1501's training set; 32 of each domain are a step.
STEPS = 12936 // 32


@contextlib.contextmanager
def timed_writes() -> Iterator[list[float]]:
    """Seconds of each checkpoint written inside."""
    original, seconds = history.save_checkpoint, []

    def write(path, state):
        start = time.perf_counter()
        original(path, state)
        seconds.append(time.perf_counter() - start)

    history.save_checkpoint = write
    try:
        yield seconds
    finally:
        history.save_checkpoint = original


def demo(root: Path, minutes: float | None) -> None:
    """One run of the demo, and the share of its checkpoints."""
    more = [] if minutes is None else ['train.checkpoint_minutes', minutes]
    with tempfile.TemporaryDirectory() as folder, timed_writes() as seconds:
        options = ['data.root', root, 'data.save_dir', folder, *more]
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            code = cli.adapt_main(
                ['--config-file', str(CONFIG), *map(str, options)]
            )
        whole = time.perf_counter() - start
    if code:
        raise SystemExit(code)
    how = 'as it is' if minutes is None else 'one after each epoch'
    print(
        f'demo, {how}: {len(seconds)} checkpoints, {sum(seconds):.2f} s of '
        f'{whole:.1f} s = {sum(seconds) / whole:.2%}',
        flush=True,
    )


def resnet50(repeats: int, batch: int) -> None:
    """One checkpoint of ResNet-50 against an epoch."""
    images = torch.randn(batch, 3, 256, 128)
    step = daam_step('resnet50', images)
    step()
    steps = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        steps.append(time.perf_counter() - start)
    model = build_daam('resnet50', 751, 650, pretrained=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = training_state(model, optimizer, None)
    with tempfile.TemporaryDirectory(dir='.') as folder:
        writes = []
        for number in range(repeats):
            start = time.perf_counter()
            history.CheckpointHistory(folder).write(
                {**state, 'epoch': number, 'batch': 0}
            )
            writes.append(time.perf_counter() - start)
        size = (Path(folder) / 'last.pth').stat().st_size
    one = statistics.median(writes)
    epoch = STEPS * statistics.median(steps) * 64 / batch
    print(
        f'resnet50_daam: {size / 1e6:.0f} MB in {one:.2f} s '
        f'({min(writes):.2f} to {max(writes):.2f}); an epoch of {STEPS} steps '
        f'of 64 images takes {epoch:.0f} s here: {one / epoch:.3%}'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--root', type=Path, default=Path('reid-data'))
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--batch', type=int, default=16, help='of a step')
    parser.add_argument('--skip-demo', action='store_true')
    args = parser.parse_args()
    print(f'{torch.get_num_threads()} threads, torch {torch.__version__}')
    if not args.skip_demo:
        demo(args.root, None)
        demo(args.root, 0)
    resnet50(args.repeats, args.batch)


if __name__ == '__main__':
    main()

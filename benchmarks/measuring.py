"""Seconds and memory of calls that do the same, and where it was."""

import gc
import importlib.metadata
import math
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

PACKAGES = ('numpy', 'scipy', 'scikit-learn', 'torch', 'torchreid')


class Measured(NamedTuple):
    """What a call gave, its seconds, and MB of its peak over before."""

    value: Any
    seconds: float
    peak: float


def measured(call: Callable[[], Any]) -> Measured:
    """Runs the call; the memory is the GPU's, or the process's resident set.

    Linux lets a process set its own peak back to what it holds now. Where
    that is not to be had, the peak is NaN.
    """
    gc.collect()
    before = _reset_peak()
    start = time.perf_counter()
    value = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return Measured(value, seconds, _peak() - before)


def in_turn(
    calls: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[Measured]]:
    """Runs the calls one after the other, each second time backwards.

    So a machine that is busy for a while is so for all of them.
    """
    results: dict[str, list[Measured]] = {name: [] for name in calls}
    for repeat in range(repeats):
        for name in list(calls)[:: -1 if repeat % 2 else 1]:
            results[name].append(measured(calls[name]))
    return results


def compared(runs: list[Measured], ours: list[Measured]) -> str:
    """Median seconds, MB, and the ratio to ours, repeat by repeat."""
    ratios = sorted(
        run.seconds / own.seconds for run, own in zip(runs, ours, strict=True)
    )
    return (
        f'{statistics.median(run.seconds for run in runs):7.2f} s  '
        f'{max(run.peak for run in runs):7.1f} MB  '
        f'{statistics.median(ratios):6.1f} times ours '
        f'({ratios[0]:.1f} to {ratios[-1]:.1f})'
    )


def _peak() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return _status('VmHWM')


def _reset_peak() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e6
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        return math.nan
    return _status('VmRSS')


def _status(name: str) -> float:
    """MB that Linux says of this process."""
    try:
        text = Path('/proc/self/status').read_text()
    except OSError:
        return math.nan
    return int(re.search(rf'{name}:\s+(\d+) kB', text)[1]) * 1024 / 1e6


def where() -> str:
    """Machine, threads, versions and commit, in one line."""
    versions = ', '.join(
        f'{name} {importlib.metadata.version(name)}' for name in PACKAGES
    )
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty'],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return (
        f'{platform.machine()}, {os.cpu_count()} cores, '
        f'OMP_NUM_THREADS={os.environ.get("OMP_NUM_THREADS", "not set")}; '
        f'Python {platform.python_version()}, {versions}; '
        f'commit {commit or "unknown"}'
    )

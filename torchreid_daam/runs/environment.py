"""Where and with what a run was made: versions, host, threads, memory."""

import hashlib
import importlib.metadata
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from torchreid_daam import distributed

try:
    import resource
except ImportError:  # Windows
    resource = None

# Of all calls of peak_memory.
_highest = 0
PACKAGES = (
    'torchreid-daam',
    'torchreid',
    'torch',
    'torchvision',
    'numpy',
    'scipy',
    'scikit-learn',
    'opencv-python-headless',
    'pillow',
)


def describe(
    parts: Sequence[Mapping[str, Any]],
    device: str,
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """What ``run.json`` holds.

    Args:
        parts: as ``Parts.as_list()`` gives them.
        device: what the run used: cpu, cuda or mps.
        digests: of the data, by name.
    """
    return {
        'command': sys.argv,
        'started': parts[0]['started'],
        'seconds': round(sum(part['seconds'] for part in parts), 1),
        'parts': [dict(part) for part in parts],
        'host': platform.node(),
        'platform': platform.platform(),
        'python': platform.python_version(),
        'versions': {name: _version(name) for name in PACKAGES},
        'threads': torch.get_num_threads(),
        'cores': os.cpu_count(),
        'processes': distributed.size(),
        'peak_memory_gb': peak_memory(),
        'device': _device(device),
        'digests': dict(digests),
    }


def digest(values: Iterable[Any]) -> str:
    """A digest of values that have a plain ``repr``."""
    state = hashlib.sha256()
    for value in values:
        state.update(repr(value).encode() + b'\n')
    return state.hexdigest()


def footer(started: float, device: str) -> str:
    """The run's last line: time, threads, memory."""
    memory = peak_memory()
    used = '' if memory is None else f', {memory:.2f} GB at most'
    return (
        f'{time.time() - started:.0f} s on {torch.get_num_threads()} of '
        f'{os.cpu_count()} cores ({_device(device)}){used}'
    )


def peak_memory() -> float | None:
    """Peak resident memory of the process tree in GB; None if not known.

    An upper bound: each process's own peak is added up, and pages that they
    share are counted for each. Loading processes that are gone count with
    the largest of them. It is the highest of all calls so far: a run asks
    once more before it ends its loading processes.
    """
    global _highest
    if resource is None:
        return None
    unit = 1 if sys.platform == 'darwin' else 1024
    peaks = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    peaks += [_peak_of(p.pid) for p in multiprocessing.active_children()]
    _highest = max(_highest, sum(peaks))
    return round(_highest * unit / 1e9, 3)


def _peak_of(pid: int | None) -> int:
    """Peak resident memory of a process in KiB, 0 where it can't be read."""
    try:
        with open(f'/proc/{pid}/status', encoding='ascii') as file:
            fields = dict(line.split(':', 1) for line in file)
        return int(fields['VmHWM'].split()[0])
    except (OSError, KeyError, ValueError):
        return 0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device == 'cuda' else device.upper()

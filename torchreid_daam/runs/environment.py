"""Where and with what a run was made: versions, host, threads, memory."""

import hashlib
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None

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


def describe(started: float, digests: Mapping[str, str]) -> dict[str, Any]:
    """What ``run.json`` holds.

    Args:
        started: ``time.time()`` at the run's start.
        digests: of the data, by name.
    """
    return {
        'command': sys.argv,
        'started': datetime.fromtimestamp(started, UTC).isoformat(),
        'seconds': round(time.time() - started, 1),
        'host': platform.node(),
        'platform': platform.platform(),
        'python': platform.python_version(),
        'versions': {name: _version(name) for name in PACKAGES},
        'threads': torch.get_num_threads(),
        'cores': os.cpu_count(),
        'peak_memory_gb': peak_memory(),
        'device': _device(),
        'digests': dict(digests),
    }


def digest(values: Iterable[Any]) -> str:
    """A digest of values that have a plain ``repr``."""
    state = hashlib.sha256()
    for value in values:
        state.update(repr(value).encode() + b'\n')
    return state.hexdigest()


def footer(started: float) -> str:
    """The run's last line: time, threads, memory."""
    memory = peak_memory()
    used = '' if memory is None else f', {memory:.2f} GB at most'
    return (
        f'{time.time() - started:.0f} s on {torch.get_num_threads()} of '
        f'{os.cpu_count()} cores ({_device()}){used}'
    )


def peak_memory() -> float | None:
    """Peak resident memory in GB; None where it is not known.

    The process, plus the largest of its loading processes.
    """
    if resource is None:
        return None
    unit = 1 if sys.platform == 'darwin' else 1024
    usage = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round(sum(usage) * unit / 1e9, 3)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return 'CPU'

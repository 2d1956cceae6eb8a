"""Keyed randomness: every draw has a name, so nothing depends on the order.

A stream of random numbers gives other results when something before it draws
once more or once less: another number of workers, an evaluation in between, a
pretraining that was loaded instead of run. So each stage, sample and module
here derives its own seed from a key such as ``(seed, 'adapt', round, epoch)``.
"""

import contextlib
import hashlib
import os
import random
from collections.abc import Iterator

import numpy as np
import torch


def key_seed(*key: int | str) -> int:
    """A seed in [0, 2**63) from a key, the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


def key_generator(*key: int | str) -> np.random.Generator:
    """A numpy generator of its own for a key."""
    return np.random.default_rng(key_seed(*key))


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Puts the global generators back as they were: Python, numpy, torch."""
    python, numpy_ = random.getstate(), np.random.get_state()
    torch_ = torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_)
        torch.random.set_rng_state(torch_)


def seed_all(seed: int) -> None:
    """Seeds the global generators of Python, numpy and torch on the CPU.

    torchreid's and torchvision's transforms and initialisers draw from them
    and take no generator of their own.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed would touch the generators of every GPU too.
    torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global generators seeded inside, and restored after."""
    with restored():
        seed_all(seed)
        yield


def reproducible_gpu() -> None:
    """Equal bits on a GPU too, as far as its operations have such a form."""
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)

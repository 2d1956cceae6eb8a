"""One thread per test process, and where the repository is."""

import os
from pathlib import Path

# Before torch is imported: it reads them once. Subprocesses inherit them.
for _name in ('OMP', 'MKL', 'OPENBLAS'):
    os.environ[f'{_name}_NUM_THREADS'] = '1'

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope='session')
def repo() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[1]

"""One thread per test process, and where the repository is."""

import os
from pathlib import Path

# Before torch is imported: it reads them once. Subprocesses inherit them.
for _name in ('OMP', 'MKL', 'OPENBLAS'):
    os.environ[f'{_name}_NUM_THREADS'] = '1'

import pytest
import torch

from layouts import write_duke, write_market

torch.set_num_threads(1)


@pytest.fixture(scope='session')
def repo() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def market_root(tmp_path: Path) -> Path:
    """A data root that holds a small Market-1501."""
    write_market(tmp_path)
    return tmp_path


@pytest.fixture
def duke_root(tmp_path: Path) -> Path:
    """A data root that holds a small DukeMTMC-reID."""
    write_duke(tmp_path)
    return tmp_path


@pytest.fixture(scope='session')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the smallest embedded pair."""
    from engines import make_datamanager  # needs torchreid

    folder = tmp_path_factory.mktemp('data')
    make_datamanager(folder)  # draws
    return folder


@pytest.fixture(scope='session')
def reference(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, list]:
    """Weights and rows of one small run."""
    from engines import make_engine, run

    save_dir = tmp_path_factory.mktemp('reference')
    engine = make_engine(root, save_dir)
    return run(engine, save_dir), engine.folder.results.rows

"""The data of a run that is over, read once more to look at it."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_daam.config import get_default_config, merge_file
from torchreid_daam.datamanager import build_datamanager

# Data sets that don't lie below data.root.
OWN_FOLDERS = {'source_folder', 'target_folder'}


def settings_of(run: Path) -> CN:
    """A run's settings, as its data is read on this machine, in order.

    Raises:
        InputError: if its ``config.yaml`` is no such file.
    """
    cfg = get_default_config()
    merge_file(cfg, str(run / 'config.yaml'))
    cfg.use_gpu, cfg.data.workers = False, 0
    cfg.sampler.train_sampler = cfg.sampler.train_sampler_t = 'RandomSampler'
    return cfg


def has_root(cfg: CN) -> bool:
    """Whether ``data.root`` is there, where a data set lies below it.

    Embedded data would be drawn into it otherwise, where nobody chose it.
    """
    named = {*cfg.data.sources, *cfg.data.targets}
    return named <= OWN_FOLDERS or os.path.isdir(cfg.data.root)


def quiet_datamanager(cfg: CN) -> Any:
    """torchreid's data manager, without what torchreid prints of it."""
    with contextlib.redirect_stdout(io.StringIO()):
        return build_datamanager(cfg)

"""What a report shows beside a run's records: its data and its models."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from yacs.config import CfgNode as CN

from torchreid_daam.config import get_default_config, merge_file
from torchreid_daam.config.kwargs import transform_kwargs
from torchreid_daam.data.reading import read_image
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.delivery.features import image_transform
from torchreid_daam.errors import InputError
from torchreid_daam.loading import load_model
from torchreid_daam.model import DAAM

THUMB = 128


class Pictures:
    """Images of one size, read without a second try; gone ones are counted.

    Args:
        cfg: of the run: height, width, mean and deviation.
    """

    def __init__(self, cfg: CN) -> None:
        self.size = (cfg.data.height, cfg.data.width)
        self.transform = image_transform(**transform_kwargs(cfg))

    def tensor(self, path: str) -> torch.Tensor | None:
        """(3, H, W) as the model takes it; None where it can't be read."""
        try:
            return self.transform(read_image(path, ()))
        except InputError:
            return None

    def thumb(self, path: str) -> np.ndarray | None:
        """(h, w, 3), h at most 128; None where it can't be read."""
        try:
            image = read_image(path, ())
        except InputError:
            return None
        height, width = self.size
        scale = min(1.0, THUMB / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR))

    def whole(
        self, entries: Sequence[Any], path=lambda entry: entry[0]
    ) -> tuple[list[Any], list[torch.Tensor]]:
        """The entries that can be read, and their tensors."""
        pairs = [(entry, self.tensor(path(entry))) for entry in entries]
        kept = [(e, t) for e, t in pairs if t is not None]
        if not kept:
            raise InputError(
                f'none of {len(pairs)} images can be read; deleted?'
            )
        return [e for e, _ in kept], [t for _, t in kept]


class Material:
    """A run's settings, data and models, read when first asked for.

    Each property raises InputError with the reason where there is none.

    Args:
        run: the run's folder.
        root: of the data sets; the run's own by default.
        before: a checkpoint of the source-only model, or a run's folder.
    """

    def __init__(self, run: Path, root: str = '', before: str = '') -> None:
        self.run, self.root, self.before = run, root, before
        self._kept: dict[str, Any] = {}

    def _once(self, name: str, make: Any) -> Any:
        if name not in self._kept:
            try:
                self._kept[name] = make()
            # torchreid's data sets raise what they like.
            except Exception as error:
                self._kept[name] = error
        if isinstance(self._kept[name], Exception):
            raise self._kept[name]
        return self._kept[name]

    @property
    def cfg(self) -> CN:
        """The run's settings."""
        return self._once('cfg', self._settings)

    @property
    def manager(self) -> Any:
        """torchreid's data manager."""
        return self._once('manager', self._data)

    @property
    def model(self) -> DAAM:
        """The selected model."""
        return self._once('model', lambda: load_model(self.run))

    @property
    def pictures(self) -> Pictures:
        """How the run's images are read."""
        return self._once('pictures', lambda: Pictures(self.cfg))

    @property
    def source_model(self) -> DAAM:
        """The model at the end of line 1 of Algorithm 1."""
        return self._once('source_model', self._source_model)

    def file(self, name: str) -> str:
        """The file of a path below the data root."""
        return os.path.join(self.data_root, name)

    @property
    def data_root(self) -> str:
        """Folder of the data sets."""
        return os.path.expanduser(self.root or self.cfg.data.root)

    def _settings(self) -> CN:
        if not (self.run / 'config.yaml').is_file():
            raise InputError('config.yaml: not there')
        cfg = get_default_config()
        merge_file(cfg, str(self.run / 'config.yaml'))
        cfg.use_gpu, cfg.data.workers = False, 0
        cfg.data.load_train_targets = cfg.loss.name == 'daam'
        cfg.sampler.train_sampler = 'RandomSampler'
        cfg.sampler.train_sampler_t = 'RandomSampler'
        return cfg

    def _data(self) -> Any:
        cfg = self.cfg.clone()
        cfg.data.root = self.data_root
        if not os.path.isdir(cfg.data.root):
            # Embedded data would be drawn there, where nobody chose it.
            raise InputError(
                f'data.root={cfg.data.root}: no folder; --root says where '
                'the data is'
            )
        # torchreid prints what it loads.
        with contextlib.redirect_stdout(io.StringIO()):
            return build_datamanager(cfg)

    def _source_model(self) -> DAAM:
        if self.before:
            return load_model(os.path.expanduser(self.before))
        epoch = self.cfg.train.pretrain_epoch
        folder = self.run / 'checkpoints'
        for path in sorted(folder.glob(f'step-{epoch:06d}-000000.pth')):
            return load_model(path)
        raise InputError(
            'the source-only model is not kept in the run; --before says '
            'where one is, e.g. a run with train.rounds 0, or let '
            'train.keep_last keep the one of the last pretraining epoch'
        )

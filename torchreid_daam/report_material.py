"""What a report shows beside a run's records: its data and its models."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from yacs.config import CfgNode as CN

from torchreid_daam.config.kwargs import transform_kwargs
from torchreid_daam.data.reading import read_image
from torchreid_daam.delivery.features import image_transform
from torchreid_daam.delivery.looking import embeddings
from torchreid_daam.delivery.records import last_labels
from torchreid_daam.errors import InputError
from torchreid_daam.loading import load_model
from torchreid_daam.model import DAAM
from torchreid_daam.randomness import key_generator
from torchreid_daam.run_data import has_root, quiet_datamanager, settings_of
from torchreid_daam.runs.labels import LabelledFiles

# Pixels of an image on the page, which bounds the page's size.
THUMB = 128 * 64
# Pixels of the longer side of the one image of a page of its own.
ALONE = 512


def sample(count: int, most: int, *key: str) -> list[int]:
    """At most so many indices below ``count``, in order, by a key."""
    chosen = key_generator(0, 'report', *key).permutation(count)[:most]
    return sorted(chosen.tolist())


def shrunk(image: Image.Image) -> np.ndarray:
    """(h, w, 3), an image's own pixels unless it is very large."""
    image.thumbnail((ALONE, ALONE))
    return np.asarray(image)


class Pictures:
    """Images of one size, read without a second try.

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

    @property
    def aspect(self) -> float:
        """Height by width."""
        return self.size[0] / self.size[1]

    def thumb(self, path: str) -> np.ndarray | None:
        """(h, w, 3) in the model's aspect; None where it can't be read."""
        try:
            image = read_image(path, ())
        except InputError:
            return None
        height, width = self.size
        scale = min(1.0, (THUMB / (height * width)) ** 0.5)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR))

    def stream(
        self, entries: Sequence[Any], path: Callable, kept: list[Any]
    ) -> Iterator[torch.Tensor]:
        """Tensors of the entries that can be read, one after the other.

        Args:
            entries: images.
            path: the file of an entry.
            kept: gets the entries that are given.

        Raises:
            InputError: at the end, if there was none.
        """
        for entry in entries:
            tensor = self.tensor(path(entry))
            if tensor is not None:
                kept.append(entry)
                yield tensor
        if not kept:
            raise InputError(
                f'none of {len(entries)} images can be read; deleted?'
            )

    def vectors(
        self, model: DAAM, entries: Sequence[Any], path: Callable
    ) -> tuple[list[Any], np.ndarray]:
        """The entries that can be read, and f_sh (N, D) of them."""
        kept: list[Any] = []
        found = embeddings(model, self.stream(entries, path, kept))
        return kept, found


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
    def target(self) -> list[tuple]:
        """torchreid's entries of the unlabelled target."""
        loader = self.manager.train_loader_t
        if loader is None:
            raise InputError('the run has no unlabelled target')
        return loader.dataset.data

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

    @property
    def labels(self) -> LabelledFiles:
        """Labels of the last round."""
        try:
            folders = self.cfg.data.target_folder
        except InputError:
            folders = []  # its own section says so
        return last_labels(self.run, folders)

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
        cfg = settings_of(self.run)
        cfg.data.load_train_targets = cfg.loss.name == 'daam'
        return cfg

    def _data(self) -> Any:
        cfg = self.cfg.clone()
        cfg.data.root = self.data_root
        if not has_root(cfg):
            raise InputError(
                f'data.root={cfg.data.root}: no folder; --root says where '
                'the data is'
            )
        return quiet_datamanager(cfg)

    def _source_model(self) -> DAAM:
        if self.before:
            return load_model(os.path.expanduser(self.before))
        epoch = self.cfg.train.pretrain_epoch
        folder = self.run / 'checkpoints'
        for path in sorted(folder.glob(f'step-{epoch:06d}-000000.pth')):
            return load_model(path)
        raise InputError(
            f'checkpoints/step-{epoch:06d}-000000.pth, the source-only '
            'model, is not there; --before says where one is, e.g. a run '
            'with train.rounds 0'
        )

"""The drawn domains as torchreid data sets."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from contextvars import ContextVar

import torchreid

from torchreid_daam.data.synthetic.drawing import (
    DOMAINS,
    GALLERY,
    NAME,
    QUERY,
    TRAIN,
    draw,
    find_pair,
    image_names,
)

_selected: ContextVar[tuple[str, int]] = ContextVar(
    'torchreid_daam_synthetic', default=('demo', 0)
)


@contextlib.contextmanager
def selected(pair: str = 'demo', seed: int = 0) -> Iterator[None]:
    """Chooses what the synthetic data sets are while it is active.

    torchreid's data manager passes a data set its own arguments only; build
    it inside this context.

    Args:
        pair: A name in ``PAIRS``.
        seed: Of everything that is drawn.

    Raises:
        InputError: The pair or the seed is not allowed.
    """
    find_pair(pair, seed)
    token = _selected.set((pair, seed))
    try:
        yield
    finally:
        _selected.reset(token)


def _read(folder: pathlib.Path) -> list[tuple[str, int, int]]:
    items = []
    for name in image_names(folder):
        # Of the name alone: torchreid's readers search the whole path.
        number, camera = map(int, NAME.fullmatch(name).groups())
        items.append((str(folder / name), number, camera - 1))
    return items


class _Synthetic(torchreid.data.ImageDataset):
    _role = ''

    def __init__(self, root: str = '', **kwargs) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        folder = draw(self.root, *_selected.get()) / self._role
        self.dataset_dir = str(folder)
        train = _read(folder / TRAIN)
        labels = {
            number: label
            for label, number in enumerate(sorted({item[1] for item in train}))
        }
        knobs = find_pair(*_selected.get())[DOMAINS.index(self._role)]
        train = [
            (path, labels[number], cam if knobs.camera_ids else 0)
            for path, number, cam in train
        ]
        super().__init__(
            train, _read(folder / QUERY), _read(folder / GALLERY), **kwargs
        )


class SyntheticSource(_Synthetic):
    """The labelled domain of the pair that `selected` names."""

    _role = 'source'


class SyntheticTarget(_Synthetic):
    """The domain to adapt to of the pair that `selected` names."""

    _role = 'target'

"""Folders of a person's own images as torchreid data sets.

``target_folder`` has no identities, ``source_folder`` one subfolder for
each. torchreid's data manager passes a data set its own arguments only; it is
built inside :func:`chosen`, which says what the lists are.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

import torchreid

from torchreid_daam.data.lists import Lists
from torchreid_daam.errors import InputError

logger = logging.getLogger('torchreid_daam')
_chosen: ContextVar[Mapping[str, Lists] | None] = ContextVar(
    'torchreid_daam_folders', default=None
)


@contextlib.contextmanager
def chosen(lists: Mapping[str, Lists]) -> Iterator[None]:
    """Says what the folder data sets hold while it is active.

    Args:
        lists: by the name of the data set.
    """
    token = _chosen.set(lists)
    try:
        yield
    finally:
        _chosen.reset(token)


class _Folder(torchreid.data.ImageDataset):
    _key = ''
    # torchreid's combineall would take the placeholders for people.
    _train_only = True

    def __init__(self, root: str = '', **kwargs) -> None:
        name = self._key.partition('.')[2]
        lists = (_chosen.get() or {}).get(name)
        if lists is None:
            raise InputError(f'{name}: {self._key} has to name the folder')
        self.unlabelled = lists.unlabelled
        super().__init__(lists.train, lists.query, lists.gallery, **kwargs)

    def show_summary(self) -> None:
        logger.info(
            '=> Loaded %s: %d training images, %d cameras%s',
            self._key,
            len(self.train),
            self.num_train_cams,
            '; no labelled part' if self.unlabelled else '',
        )


class TargetFolder(_Folder):
    """Images without identities (``data.target_folder``)."""

    _key = 'data.target_folder'
    # Those to train on; a labelled part is for tests alone.
    without_identities = True


class SourceFolder(_Folder):
    """One subfolder per identity (``data.source_folder``)."""

    _key = 'data.source_folder'


class NoSource(_Folder):
    """Stands where a source would; nothing is trained on it."""

    _key = 'data.no_source'
    stand_in = True

"""torchreid's data manager for a run, folders of own images included."""

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import torchreid
from torchvision.transforms import ColorJitter
from yacs.config import CfgNode as CN

from torchreid_daam.checks import load_datamanager
from torchreid_daam.config.kwargs import (
    imagedata_kwargs,
    pretrain_transform_kwargs,
    target_folder_kwargs,
)
from torchreid_daam.data import synthetic
from torchreid_daam.data.domains import scored_tests
from torchreid_daam.data.folder import chosen
from torchreid_daam.data.lists import (
    Entry,
    Lists,
    read_target,
    without_source,
)
from torchreid_daam.data.people import read_source
from torchreid_daam.data.style import style_items
from torchreid_daam.data.tree import shown
from torchreid_daam.errors import InputError

NO_SOURCE = 'no_source'


def name_folders(cfg: CN) -> None:
    """Puts folders that are set in the place of named data sets."""
    for key, names in (
        ('source_folder', 'sources'),
        ('target_folder', 'targets'),
    ):
        if cfg.data[key] and key not in cfg.data[names]:
            cfg.data[names] = [key]


def read_folders(cfg: CN) -> dict[str, Lists]:
    """Lists of the folder data sets that the settings name.

    Raises:
        InputError: if a folder can't be used.
    """
    lists = {}
    if 'source_folder' in cfg.data.sources + cfg.data.targets:
        lists['source_folder'] = read_source(
            cfg.data.source_folder,
            cfg.data.camera_pattern,
            cfg.data.source_holdout,
        )
    if 'target_folder' in cfg.data.targets:
        lists['target_folder'] = read_target(**target_folder_kwargs(cfg))
        if not cfg.data.sources:
            lists[NO_SOURCE] = without_source(lists['target_folder'])
    return lists


def held_people(lists: Mapping[str, Lists]) -> Sequence[Entry]:
    """Images of people of a source folder who are not trained on."""
    source = lists.get('source_folder')
    return source.held if source else ()


def tracklets_of(
    lists: Mapping[str, Lists], datamanager: Any
) -> dict[str, int]:
    """Number of the tracklet by path of a target training image.

    Of the images that the data manager still has; empty without a pattern.
    """
    target, loader = lists.get('target_folder'), datamanager.train_loader_t
    if target is None or loader is None or not target.tracklets:
        return {}
    paths = [entry[0] for entry in loader.dataset.data]
    return {path: target.tracklets[path] for path in paths}


def build_datamanager(
    cfg: CN, lists: Mapping[str, Lists] | None = None
) -> Any:
    """torchreid's data manager, embedded data drawn where it is named.

    Args:
        cfg: the settings.
        lists: of the folder data sets, from :func:`read_folders`.

    Raises:
        InputError: if a list can't be loaded, or source and target share
            images, style copies and a labelled part included.
    """
    if lists is None:
        lists = read_folders(cfg)
    pair = cfg.data.synthetic
    kwargs = imagedata_kwargs(cfg)
    if not cfg.data.sources:
        kwargs['sources'] = [NO_SOURCE]
    with synthetic.selected(pair.pair, pair.seed), chosen(lists):
        datamanager = load_datamanager(**kwargs)
    _set_augmentation(cfg, datamanager)
    source, copies = datamanager.train_loader.dataset.data, []
    held = held_people(lists)
    if cfg.data.style_folder:
        by_folder = ''
        if cfg.data.sources == ['source_folder']:
            by_folder = cfg.data.source_folder
        copies = style_items(cfg.data.style_folder, source, by_folder, held)
    if cfg.data.sources:
        _check_apart(cfg, [*source, *held], copies, datamanager)
    source += copies
    return datamanager


def _set_augmentation(cfg: CN, datamanager: Any) -> None:
    """Augmentation by stage, and its colour jitter as the settings say.

    torchreid's own names for both stages, which are ours;
    ``transform_pretrain`` is there where pretraining has another augmentation
    than rounds.
    """
    stages = [datamanager.transform_tr]
    if cfg.data.pretrain_transforms:
        transform, _ = torchreid.data.transforms.build_transforms(
            **pretrain_transform_kwargs(cfg)
        )
        datamanager.transform_pretrain = transform
        stages.append(transform)
    if not cfg.data.color_jitter:
        return
    # torchreid fixes them to .2, .15, 0 and 0.
    jitter = ColorJitter(*cfg.data.color_jitter)
    for transform in stages:
        # In place: torchreid's own loaders have the same object.
        transform.transforms[:] = [
            jitter if isinstance(step, ColorJitter) else step
            for step in transform.transforms
        ]


def _check_apart(
    cfg: CN, source: Sequence[tuple], copies: Sequence[tuple], datamanager: Any
) -> None:
    """Images of the target would be trained on with labels of the source.

    Those of the labelled part too, and then be scored. Named data sets are
    other files by themselves, but a folder may be anywhere.
    """
    test = _real(
        entry
        for splits in scored_tests(datamanager).values()
        for data in splits.values()
        for entry in data
    )
    train = {}
    if datamanager.train_loader_t is not None:
        train = _real(datamanager.train_loader_t.dataset.data)
    if cfg.data.target_folder:
        known, own = _real(source), 'images of the source'
        _refuse_shared('data.target_folder', train, known, own)
        part = f'data.target_test_folder={shown(cfg.data.target_test_folder)}'
        _refuse_shared(part, test, known, own)
    _refuse_shared(
        f'data.style_folder={shown(cfg.data.style_folder)}',
        _real(copies),
        {*train, *test},
        'images of the target',
    )


def _real(entries: Iterable[tuple]) -> dict[str, str]:
    """The path that an image is known by, by its path without links."""
    return {os.path.realpath(entry[0]): entry[0] for entry in entries}


def _refuse_shared(
    key: str, images: Mapping[str, str], others: Container[str], what: str
) -> None:
    shared = [path for real, path in images.items() if real in others]
    if shared:
        raise InputError(
            f'{key}: {len(shared)} of its {len(images)} images are {what} '
            f'too, such as {shown(shared[0])}; the folders have to lie apart'
        )

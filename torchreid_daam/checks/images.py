"""The images of a run: each is decoded once before training."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import torchreid
from torch.utils.data import DataLoader
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.config.kwargs import torchreids_sampler
from torchreid_daam.data.domains import scored_tests
from torchreid_daam.data.scan import scan_images
from torchreid_daam.errors import InputError, one_line, printable
from torchreid_daam.runs.files import write_text

logger = logging.getLogger('torchreid_daam')
LIST = 'bad_images.txt'


def check_images(cfg: CN, datamanager: Any, write: bool = True) -> None:
    """Decodes every image of a run; ``data.on_bad_image`` says what then.

    With ``skip``, training images that can't be decoded are taken out of
    the data manager. In query and gallery they always stop the run: without
    them its mAP would be another one.

    Args:
        cfg: the settings.
        datamanager: torchreid's; changed in place.
        write: whether files may be written: the list of bad images in
            ``data.save_dir``, and what could be decoded.

    Raises:
        InputError: with the number of bad images, the first one, its reason
            and the file that lists all.
    """
    tests = [
        item[0]
        for splits in scored_tests(datamanager).values()
        for data in splits.values()
        for item in data
    ]
    loaders = ()
    if not cfg.test.evaluate:
        loaders = ('train_loader', 'train_loader_t')
    loaders = [
        name
        for name in loaders
        if (loader := getattr(datamanager, name)) is not None
        and not getattr(loader.dataset, 'stand_in', False)
    ]
    training = [
        item[0]
        for name in loaders
        for item in getattr(datamanager, name).dataset.data
    ]
    looks = scan_images(
        training + tests,
        cfg.data.root,
        cfg.data.save_dir,
        cfg.data.workers,
        remember=write,
    )
    bad = {path: looks[path].error for path in sorted(looks)}
    bad = {path: error for path, error in bad.items() if error}
    listed = _list(cfg, bad) if write else 'which the run itself lists'
    if not bad:
        return
    skip = cfg.data.on_bad_image == 'skip'
    stopping = sorted(bad.keys() & set(tests)) if skip else list(bad)
    if stopping:
        raise InputError(
            f'{stopping[0]}: not a readable image ({bad[stopping[0]]}); 1 '
            f'of {len(bad)} bad images, {listed}; replace or remove them'
            + _hint(skip, len(stopping))
        )
    logger.info(
        'data.on_bad_image=skip: %d of %d training images left out, %s',
        len(bad),
        len(set(training)),
        listed,
    )
    for name in loaders:
        _leave_out(cfg, datamanager, name, bad)


def _hint(skip: bool, stopping: int) -> str:
    if skip:
        return (
            f'; {stopping} in query or gallery, where '
            'data.on_bad_image=skip does not hold'
        )
    return ', or leave out training images: data.on_bad_image skip'


def _list(cfg: CN, bad: dict[str, str]) -> str:
    path = Path(cfg.data.save_dir).expanduser() / LIST
    if not bad:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # of an earlier start
        return ''
    lines = [f'{printable(name)}\t{reason}\n' for name, reason in bad.items()]
    try:
        write_text(path, ''.join(lines))
    except OSError as error:
        return f'{path} can not list them ({error.strerror})'
    return f'all listed in {os.fspath(path)}'


def _leave_out(
    cfg: CN, datamanager: Any, name: str, bad: dict[str, str]
) -> None:
    """Takes images out of one training loader, as if they never were there.

    Identities are numbered again without gaps.
    """
    loader = getattr(datamanager, name)
    dataset = loader.dataset
    kept = [item for item in dataset.data if item[0] not in bad]
    if len(kept) == len(dataset.data):
        return
    labels = {pid: i for i, pid in enumerate(sorted({i[1] for i in kept}))}
    # For the table of what was found.
    dataset.left_out = [item for item in dataset.data if item[0] in bad]
    kept = [(path, labels[pid], *rest) for path, pid, *rest in kept]
    dataset.train = dataset.data = kept
    if len(kept) < cfg.train.batch_size:
        return  # refused by check_data
    key = 'train_sampler' if name == 'train_loader' else 'train_sampler_t'
    try:
        sampler = torchreid.data.sampler.build_train_sampler(
            kept,
            torchreids_sampler(cfg.sampler[key]),
            batch_size=cfg.train.batch_size,
            num_instances=cfg.sampler.num_instances,
            num_cams=cfg.sampler.num_cams,
            num_datasets=cfg.sampler.num_datasets,
        )
    except (ValueError, AssertionError) as error:
        raise InputError(
            f'sampler.{key}={cfg.sampler[key]}: not with the images that are '
            f'left after data.on_bad_image=skip: {one_line(error)}'
        ) from None
    loader = DataLoader(
        dataset,
        sampler=sampler,
        batch_size=loader.batch_size,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
    )
    setattr(datamanager, name, loader)
    if name == 'train_loader':
        registry.recount(datamanager)

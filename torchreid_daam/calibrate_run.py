"""The calibrate command: a threshold for a model, from its own run."""

import logging
import os
import re
from typing import Any

import numpy as np
import torchreid
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.data import synthetic
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.calibration import (
    calibrate_pairs,
    confident,
    cross_camera_pairs,
)
from torchreid_daam.randomness import key_generator
from torchreid_daam.runs.calibration import write_calibration
from torchreid_daam.runs.checkpoint import checkpoint_file
from torchreid_daam.runs.held import read_held
from torchreid_daam.use import Opened, open_model, settings_file

logger = logging.getLogger('torchreid_daam')
# Vectors, people, cameras, and whether the people are sure.
_Images = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
ONE_CAMERA = (
    'all images are of one camera: between two cameras one person looks less '
    'alike'
)
_ROUND = re.compile(r'round-(\d+)\.npz')


def calibrate(cfg: CN, model: str, rate: float) -> dict[str, Any]:
    """Writes ``calibration.json`` beside the model; returns its content.

    Args:
        cfg: the settings of the run that made the model.
        model: a checkpoint of a run, or the run's folder.
        rate: wished false-accept rate, in (0, 0.5].

    Raises:
        InputError: if neither source nor target gives pairs.
    """
    if not 0 < rate <= 0.5:
        raise InputError(f'--far={rate}: above 0 to 0.5 expected')
    if settings_file(model) is None:
        raise InputError(
            f'--model={model}: calibrate needs the folder of its run: '
            'config.yaml, and pseudo labels or the source'
        )
    opened = open_model(cfg, model)
    images = {
        'target': _target_images(cfg, model, opened),
        'source': _source_images(cfg, model, opened),
    }
    parts = {
        name: found and _calibrated(*found, rate, name)
        for name, found in images.items()
    }
    if parts['source'] and _may_know(cfg, model):
        parts['source']['warnings'].append(
            'the run began with other weights, which may know these people'
        )
    known = [name for name, part in parts.items() if part]
    if not known:
        raise InputError(
            f'{checkpoint_file(model)}: nothing to calibrate with: '
            + '; '.join(_lacking(name, images[name]) for name in images)
        )
    # Clusters are guessed, but distances of the source are of other images:
    # an adapted model spreads the two domains differently.
    basis = known[0]
    content = {
        'format': 1,
        'metric': 'cosine',
        'wished_false_accepts': rate,
        'basis': basis,
        'threshold': parts[basis]['threshold'],
        'interval': parts[basis]['interval'],
        'warnings': parts[basis]['warnings'],
        **parts,
    }
    for warning in content['warnings']:
        logger.warning('%s: %s', basis, warning)
    write_calibration(checkpoint_file(model), content)
    return content


def _lacking(name: str, images: _Images | None) -> str:
    """Why the images of a domain gave no threshold."""
    if images is None:
        return {
            'target': 'no pseudo labels beside it',
            'source': 'no source with people that were not trained on',
        }[name]
    return (
        f'{name}: no pair of images of one person, or none of two people; '
        'they are of two cameras, where there are two'
    )


def _target_images(cfg: CN, model: str, opened: Opened) -> _Images | None:
    """Clustered images of the last round; half of each cluster is sure."""
    folder = checkpoint_file(model).parent.parent / 'pseudo_labels'
    rounds = {
        int(match[1]): path
        for path in folder.glob('round-*.npz')
        if (match := _ROUND.fullmatch(path.name))
    }
    if not rounds:
        return None
    with np.load(rounds[max(rounds)], allow_pickle=False) as arrays:
        root = os.path.abspath(os.path.expanduser(cfg.data.root))
        names = [os.path.join(root, str(name)) for name in arrays['path']]
        labels = dict(zip(names, arrays['label'].tolist(), strict=True))
        cameras = dict(zip(names, arrays['camera'].tolist(), strict=True))
    gone = [name for name in names if not os.path.isfile(name)]
    if gone:
        key = 'target_folder' if cfg.data.target_folder else 'root'
        raise InputError(
            f'data.{key}={cfg.data[key]}: {len(gone)} of the {len(names)} '
            f'target images of {rounds[max(rounds)]} are gone, such as '
            f'{gone[0]}'
        )
    vectors, paths = opened.vectors(names)
    label = np.array([labels[path] for path in paths])
    camera = np.array([cameras[path] for path in paths])
    used = label >= 0
    vectors, label, camera = vectors[used], label[used], camera[used]
    return vectors, label, camera, confident(vectors, label)


def _source_images(cfg: CN, model: str, opened: Opened) -> _Images | None:
    """Of people of the source who were not trained on."""
    vectors, pids, cameras = [], [], []
    for number, name in enumerate(cfg.data.sources):
        if name == 'source_folder':
            entries = _held(cfg, model)
        else:
            entries = _tested(cfg, name)
        if not entries:
            continue
        found, paths = opened.vectors(sorted(entries))
        vectors.append(found)
        # People and cameras of two data sets are different ones.
        pids += [entries[path][0] + number * 10**6 for path in paths]
        cameras += [entries[path][1] + number * 10**3 for path in paths]
    if not vectors:
        return None
    return (
        np.concatenate(vectors),
        np.array(pids),
        np.array(cameras),
        np.ones(len(pids), bool),
    )


# Person and camera by path.
_People = dict[str, tuple[int, int]]


def _held(cfg: CN, model: str) -> _People:
    """Of a source folder, those whom the run kept from training."""
    root = os.path.abspath(os.path.expanduser(cfg.data.root))
    people = read_held(settings_file(model).parent, root)
    if not people:
        logger.info(
            'data.source_folder=%s: the run kept nobody from training; '
            'calibrated without it',
            cfg.data.source_folder,
        )
    there = {p: rest for p, *rest in people if os.path.isfile(p)}
    if len(there) < len(people):
        logger.warning(
            'data.source_folder=%s: %d of the %d images that were kept from '
            'training are gone; calibrated without them',
            cfg.data.source_folder,
            len(people) - len(there),
            len(people),
        )
    return there


def _may_know(cfg: CN, model: str) -> bool:
    """Whether weights that were loaded were trained on people held back.

    They were not, where their own run held back the same people. Where that
    can't be told, they may have been.
    """
    if not cfg.model.load_weights or 'source_folder' not in cfg.data.sources:
        return False
    root = os.path.abspath(os.path.expanduser(cfg.data.root))
    earlier = checkpoint_file(cfg.model.load_weights).parent.parent
    own, theirs = (
        {os.path.realpath(path) for path, *_ in read_held(run, root)}
        for run in (settings_file(model).parent, earlier)
    )
    return not own <= theirs


def _tested(cfg: CN, name: str) -> _People:
    """Query and gallery of a named source."""
    if cfg.data.combineall:
        return {}  # they were trained on
    if not _is_there(cfg, name):
        # torchreid would start to download it.
        logger.warning(
            'data.sources=%s: not below data.root=%s; calibrated without it',
            name,
            cfg.data.root,
        )
        return {}
    pair = cfg.data.synthetic
    with synthetic.selected(pair.pair, pair.seed):
        dataset = torchreid.data.datasets.init_image_dataset(
            name, root=cfg.data.root, mode='query', verbose=False
        )
    return {
        entry[0]: entry[1:3]
        for entry in dataset.query + dataset.gallery
        if entry[1] > 0  # no junk, no distractors
    }


def _is_there(cfg: CN, name: str) -> bool:
    """Whether a source can be read without a download."""
    if name not in registry.dataset_names():
        return False
    folder = registry.dataset_folder(name)
    root = os.path.expanduser(cfg.data.root)
    return folder is None or os.path.isdir(os.path.join(root, folder))


def _calibrated(vectors, pids, cameras, sure, rate, name) -> dict | None:
    generator = key_generator(0, 'calibrate', name)
    alone = len(np.unique(cameras)) == 1
    if alone:
        cameras = np.arange(len(cameras))  # any two images, then
    pairs = cross_camera_pairs(vectors, pids, cameras, generator, sure=sure)
    found = calibrate_pairs(pairs, rate, generator)
    if found and alone:
        found['warnings'].append(ONE_CAMERA)
    return found

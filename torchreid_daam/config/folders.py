"""What has to hold between the settings on folders of own images."""

import re
import warnings

from yacs.config import CfgNode as CN

from torchreid_daam.errors import InputError


def check_folders(cfg: CN) -> None:
    """Checks the settings on folders; no folder is looked at.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    data = cfg.data
    for folder in data.target_folder:
        if not isinstance(folder, str) or not folder:
            raise InputError(
                f'data.target_folder={data.target_folder}: paths expected'
            )
    for key in ('camera_pattern', 'tracklet_pattern'):
        _check_pattern(f'data.{key}', data[key])
    if 'source_folder' in data.targets or 'no_source' in data.sources:
        raise InputError(
            f'data.sources={data.sources}, data.targets={data.targets}: '
            'source_folder is a source alone; no source at all is '
            'data.sources []'
        )
    target = 'target_folder' in data.targets
    unlabelled = target and not data.target_test_folder
    if cfg.train.select == 'target_map' and unlabelled:
        raise InputError(
            'train.select=target_map: data.target_folder has no identities; '
            'last and health need none'
        )
    if target and (len(data.targets) > 1 or not data.target_folder):
        raise InputError(
            f'data.targets={data.targets}: target_folder stands alone, and '
            'data.target_folder has to name the folder'
        )
    if 'source_folder' in data.sources and not data.source_folder:
        raise InputError(
            f'data.sources={data.sources}: data.source_folder has to name '
            'the folder'
        )
    for key in ('tracklet_pattern', 'target_test_folder'):
        if data[key] and not data.target_folder:
            raise InputError(
                f'data.{key}={data[key]}: needs data.target_folder'
            )
    if (target or data.style_folder) and cfg.loss.name != 'daam':
        key = 'target_folder' if target else 'style_folder'
        raise InputError(
            f'data.{key}={data[key]}: only with loss.name daam; '
            f'{cfg.loss.name} does not know it'
        )
    if data.style_folder and len(data.sources) != 1:
        raise InputError(
            f'data.style_folder={data.style_folder}: its identities are '
            f'those of one source, not of {len(data.sources)}'
        )
    if unlabelled and cfg.test.evaluate:
        raise InputError(
            'test.evaluate=True: data.target_folder has no identities to '
            'score; data.target_test_folder can name a labelled part'
        )
    if not data.sources:
        _check_no_source(cfg, target)


def _check_pattern(key: str, pattern: str) -> None:
    try:
        with warnings.catch_warnings():  # of what a later Python may mean
            warnings.simplefilter('ignore', FutureWarning)
            re.compile(pattern)
    except re.error as error:
        raise InputError(
            f'{key}={pattern}: not a regular expression ({error})'
        ) from None


def _check_no_source(cfg: CN, target: bool) -> None:
    """Without source images a model that is there is adapted."""
    if not (target and (cfg.model.load_weights or cfg.model.resume)):
        raise InputError(
            'data.sources=[]: at least one is needed, or data.target_folder '
            'together with model.load_weights'
        )
    wanted = {
        'train.pretrain_epoch': (cfg.train.pretrain_epoch == 0, '0'),
        'train.epoch_length': (
            cfg.train.epoch_length != 'source',
            'min, max, target or a number of batches',
        ),
        'loss.daam.weight_reid_t': (
            cfg.loss.daam.weight_reid_t != 0,
            'a number above 0',
        ),
    }
    for key, (fits, allowed) in wanted.items():
        if not fits:
            *path, name = key.split('.')
            node = cfg
            for part in path:
                node = node[part]
            raise InputError(
                f'{key}={node[name]}: not without a source; {allowed}, or '
                'name a source with -s or --source-folder'
            )

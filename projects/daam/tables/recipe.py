"""The modern recipe taken apart: its ingredients, and rows made of them.

What it is stands in ``configs/synthetic-plus.yaml`` alone. Rows see as many
images as the base settings do.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yacs.config import CfgNode as CN

from tables.rows import Row
from torchreid_daam.config import flatten

PLUS, LONG = 'plus', 'plus_long'
PRESET = Path(__file__).resolve().parents[1] / 'configs/synthetic-plus.yaml'


class Ingredient(NamedTuple):
    """What of the preset belongs together.

    Attributes:
        title: of the faithful model with it, behind "full + ".
        without: of the recipe without it, behind "plus ": what stands there
            instead.
        keys: its settings.
    """

    title: str
    without: str
    keys: tuple[str, ...]


INGREDIENTS: dict[str, Ingredient] = {
    'apart': Ingredient(
        'separate batches',
        'with joint batches',
        ('train.forward',),
    ),
    'dbscan': Ingredient(
        'DBSCAN',
        'with k-means',
        (
            'pseudo_labels.method',
            'pseudo_labels.eps',
            'pseudo_labels.k1',
            'pseudo_labels.k2',
            'pseudo_labels.min_samples',
        ),
    ),
    'equal': Ingredient(
        'no weights',
        'with the weights of Eq. 9',
        ('pseudo_labels.sample_weights',),
    ),
    'cosine': Ingredient(
        'cosine from 0.1',
        "with the faithful preset's rate and its drops",
        ('train.lr_scheduler', 'train.pretrain_lr_scheduler', 'train.lr'),
    ),
    'jitter': Ingredient(
        'colour jitter in rounds',
        'without colour jitter',
        (
            'data.transforms',
            'data.pretrain_transforms',
            'data.color_jitter',
        ),
    ),
    'cameras': Ingredient(
        'camera-centred features',
        'without camera-centred features',
        ('pseudo_labels.center_cameras',),
    ),
    'teacher': Ingredient(
        'averaged weights',
        'without averaged weights',
        ('train.ema_decay',),
    ),
    'often': Ingredient(
        'twice as many rounds of half the length',
        'with half as many rounds of twice the length',
        ('train.rounds', 'train.round_epoch'),
    ),
    'feature': Ingredient(
        'f_sh before its ReLU',
        'with f_sh behind its ReLU',
        ('test.feature',),
    ),
    'no_dsp': Ingredient(
        'no DSP branch',
        'with the DSP branch',
        ('model.daam.dsp_branch',),
    ),
}
BALANCED = {
    'sampler.train_sampler_t': 'PseudoIdentitySampler',
    'sampler.num_instances': 4,
}
# All of the recipe, and nothing that is the paper's.
_NO_DAAM = {'model.daam.attention': 'none', 'loss.daam.domain_loss': 'none'}


def plus_settings(cfg: CN) -> dict[str, Any]:
    """The ingredients' settings, as the preset has them.

    Args:
        cfg: the base settings. Twice as many rounds of half the length are
            twice theirs, so that as many images are seen.
    """
    with open(PRESET, encoding='utf-8') as file:
        preset = flatten(yaml.safe_load(file))
    preset['train.rounds'] = 2 * cfg.train.rounds
    preset['train.round_epoch'] = max(1, cfg.train.round_epoch // 2)
    return {
        key: preset[key] for part in INGREDIENTS.values() for key in part.keys
    }


def drops_kept(settings: dict[str, Any], cfg: CN) -> dict[str, Any]:
    """A row's settings, with the drops of its rate where the base has them.

    Rounds of half as many epochs would keep the epochs of ``train.stepsize``
    and lose the last drop. With as many epochs of half the length each drop
    stays at its share of a round.

    Args:
        settings: of the row.
        cfg: the base settings. Where ``train.epoch_length`` is a word and no
            number, nothing is changed.
    """
    schedule = settings.get('train.lr_scheduler', cfg.train.lr_scheduler)
    length = str(cfg.train.epoch_length)
    if (
        schedule == 'cosine'
        or 'train.round_epoch' not in settings
        or not length.isdecimal()
    ):
        return settings
    return {
        **settings,
        'train.round_epoch': cfg.train.round_epoch,
        'train.epoch_length': str(max(1, int(length) // 2)),
    }


def plus_row(plus: dict[str, Any]) -> Row:
    """The recipe as a whole."""
    return Row(PLUS, 'plus', plus, ours=True)


def without_daam(plus: dict[str, Any]) -> Row:
    """The recipe without attention and domain similarity loss."""
    settings = {**plus, **_NO_DAAM}
    return on_plus('plus_no_daam', 'without attention and L_DS', settings)


def limits(settings: dict[str, Any], prefix: str = PLUS) -> list[Row]:
    """What true labels give with the same network and augmentation.

    Args:
        settings: of the recipe, or of the one that is twice as long.
        prefix: of the rows' keys.
    """
    reads = {'reference': prefix, 'ours': True}
    length = ', as long' if prefix == LONG else ''
    return [
        Row(
            f'{prefix}_oracle',
            f'{prefix}, true labels'.replace('_', '-'),
            settings,
            seat='oracle',
            **reads,
        ),
        Row(
            f'{prefix}_supervised',
            f'supervised on the target, with jitter{length}',
            settings,
            method='supervised',
            stage='supervised',
            **reads,
        ),
    ]


def long_rows(plus: dict[str, Any]) -> list[Row]:
    """Twice the rounds, and what true labels give then."""
    long = {**plus, 'train.rounds': 2 * plus['train.rounds']}
    return [
        Row(LONG, 'plus-long', long, reference=PLUS, ours=True),
        *limits(long, LONG),
    ]


def on_plus(key: str, change: str, settings: dict[str, Any]) -> Row:
    """A row that is compared with the whole recipe.

    Args:
        key: of the row.
        change: what it has or lacks; its title behind "plus ".
        settings: of the row.
    """
    title = f'{PLUS} {change}'
    return Row(key, title, settings, reference=PLUS, ours=True)

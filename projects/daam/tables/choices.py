"""Rows of the suites `choices` and `fig6`, which depend on the settings."""

from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode as CN

from tables.rows import FULL_ROW, Row, embedded
from torchreid_daam.config import flatten

LETTER = Path(__file__).resolve().parents[1] / 'configs' / 'letter.yaml'
# The six departures of the other presets, which `letter` takes back.
DEPARTURES = (
    'adapt_bn',
    'model.daam.gate',
    'model.daam.attention_init',
    'loss.daam.reduction',
    'loss.daam.orth',
    'pseudo_labels.normalize',
    'pseudo_labels.weight_scale',
)


def clusters(cfg: CN) -> list[Row]:
    """K as the paper has it, or on embedded data as shares of the rule."""
    if not embedded(cfg):
        return [
            Row(
                f'k{k}',
                f'K = {k}',
                {'pseudo_labels.num_clusters': k},
                reference='k650',
                x=k,
            )
            for k in range(300, 1001, 50)
        ]
    return [
        FULL_ROW._replace(title='K as set', x=1.0)
        if factor == 1
        else Row(
            f'k{factor:g}',
            f'{factor:g} times K',
            {},
            seat=f'clusters*{factor:g}',
            x=factor,
        )
        for factor in (0.5, 0.75, 1.0, 1.5, 2.0)
    ]


def choices(cfg: CN) -> list[Row]:
    """A row per decision that the paper left open or was departed from."""

    def one(key: str, title: str, **settings: Any) -> Row:
        names = {k.replace('__', '.'): v for k, v in settings.items()}
        return Row(key, title, names, ours=True)

    batch = cfg.train.batch_size
    # A sum over a batch is a mean at a rate that many times higher.
    per_image = {
        'train.lr': cfg.train.lr / batch,
        'train.pretrain_lr': cfg.train.pretrain_lr / batch,
    }
    with open(LETTER, encoding='utf-8') as file:
        letter = flatten(yaml.safe_load(file))
    printed = {key: letter[key] for key in DEPARTURES}
    summed = {'loss.daam.reduction': 'sum'}
    labels = 'pseudo_labels__'
    return [
        FULL_ROW,
        Row(
            'letter',
            'preset letter, rates / batch size',
            {**printed, **per_image},
            ours=True,
        ),
        one(
            'relu_gate', 'gate relu_sigmoid', model__daam__gate='relu_sigmoid'
        ),
        one('literal_gate', 'gate literal', model__daam__gate='literal'),
        one('ha_gate', 'gate harmonious', model__daam__gate='harmonious'),
        one(
            'random_attention',
            'attention starts at random',
            model__daam__attention_init='random',
        ),
        one(
            'raw_kmeans',
            'k-means on raw f_sh',
            **{labels + 'normalize': False},
        ),
        one(
            'relative',
            'weights relative',
            **{labels + 'weight_scale': 'relative'},
        ),
        one('raw_weights', 'weights raw', **{labels + 'weight_scale': 'raw'}),
        one(
            'centers', 'head from centres', **{labels + 'head_init': 'centers'}
        ),
        one('separate', 'separate batches', train__forward='separate'),
        one('source_bn', 'without adapt_bn', adapt_bn=False),
        one('printed_orth', 'Eq. 11 as printed', loss__daam__orth='paper'),
        Row('sums', 'sums', summed, ours=True),
        Row(
            'sums_rate',
            'sums, rates / batch size',
            {**summed, **per_image},
            ours=True,
        ),
        *_epoch_lengths(cfg),
        one('last_stride', 'last stride 1', model__last_stride=1),
    ]


def _epoch_lengths(cfg: CN) -> list[Row]:
    now = cfg.train.epoch_length
    if now.isdecimal():
        others = [str(max(1, int(now) // 2)), str(int(now) * 2)]
    else:
        others = [o for o in ('max', 'source', 'target') if o != now]
    return [
        Row(
            f'epoch_{other}',
            f'epoch length {other}, not {now}',
            {'train.epoch_length': other},
            ours=True,
        )
        for other in others
    ]

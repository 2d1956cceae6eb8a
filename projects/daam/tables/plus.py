"""The suites `plus` and `pairs`: the modern recipe, and its peers.

What `plus` is stands in ``configs/synthetic-plus.yaml`` alone; here its
settings are taken apart into ingredients. Rows see as many images as the base
settings do, and none has a schedule of its own.
"""

from pathlib import Path
from typing import Any

import yaml

from tables.rows import (
    ADABN,
    DIRECT,
    FULL,
    FULL_ROW,
    PLAIN,
    Claim,
    Row,
    Suite,
)
from torchreid_daam.config import flatten

PLUS = 'plus'
PRESET = Path(__file__).resolve().parents[1] / 'configs/synthetic-plus.yaml'
# What of the preset belongs together, and its title.
INGREDIENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    'jitter': (
        'colour jitter in rounds',
        (
            'data.transforms',
            'data.pretrain_transforms',
            'data.color_jitter',
        ),
    ),
    'pk': (
        'balanced batches',
        ('sampler.train_sampler_t', 'sampler.num_instances'),
    ),
    'dbscan': (
        'DBSCAN',
        (
            'pseudo_labels.method',
            'pseudo_labels.eps',
            'pseudo_labels.k1',
            'pseudo_labels.k2',
            'pseudo_labels.min_samples',
            'pseudo_labels.outliers',
        ),
    ),
    'ema': ('averaged weights', ('train.ema_decay',)),
    'source_bn': ('no adapt_bn', ('adapt_bn',)),
    'no_dsp': ('no DSP branch', ('model.daam.dsp_branch',)),
}
# What may go on top of it.
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    'soft': ('soft targets', {'loss.daam.weight_soft': 0.5}),
    'triplet': ('triplets', {'loss.daam.weight_triplet': 1.0}),
    'soft_triplet': (
        'triplets, soft margin',
        {'loss.daam.weight_triplet': 1.0, 'loss.daam.triplet_margin': 0.0},
    ),
    'smooth': ('label smoothing', {'loss.daam.label_smoothing': 0.1}),
    'agreement': (
        'weights by agreement',
        {'pseudo_labels.sample_weights': 'agreement'},
    ),
    'equal': ('no weights', {'pseudo_labels.sample_weights': 'none'}),
    'assign': ('soft assignments', {'loss.daam.weight_assign': 1.0}),
    'free': ('no source in later rounds', {'train.source_free_from': 3}),
    'own': (
        'outliers as clusters of their own',
        {'pseudo_labels.outliers': 'own'},
    ),
    'erase': (
        'random erasing in rounds',
        {
            'data.transforms': [
                'random_flip',
                'random_crop',
                'color_jitter',
                'random_erase',
            ]
        },
    ),
    'jitter_before': (
        'jitter in pretraining too',
        {'data.pretrain_transforms': []},
    ),
}
PAIR_NAMES = (
    *('hard', 'easy', 'swapped', 'few'),
    *('unequal', 'one-camera', 'no-cameras'),
)
NOTE = (
    'Every row sees as many images, with the schedule of the base settings. '
    'No row was tuned, on any seed: neither the recipe nor a peer. Peers have '
    "the recipe's augmentation and batches, and their own settings where they "
    'publish some; see `baselines/` for what was scaled.'
)


def plus_settings() -> dict[str, Any]:
    """The ingredients' settings, as the preset has them."""
    with open(PRESET, encoding='utf-8') as file:
        preset = flatten(yaml.safe_load(file))
    return {
        key: preset[key] for _, keys in INGREDIENTS.values() for key in keys
    }


def plus_row() -> Row:
    """The recipe as a whole."""
    return Row(PLUS, 'plus', plus_settings(), ours=True)


def peers() -> list[Row]:
    """Self-training as others do it, in the recipe's batches."""
    plus = plus_settings()

    def of(*names: str) -> dict[str, Any]:
        return {key: plus[key] for n in names for key in INGREDIENTS[n][1]}

    # No part of the paper's: identities of the source, clusters of the target.
    plain = {
        **PLAIN,
        'loss.daam.domain_loss': 'none',
        'pseudo_labels.sample_weights': 'none',
        **of('jitter', 'pk'),
    }
    teacher = {
        **of('ema', 'source_bn'),
        'loss.daam.weight_soft': 0.5,
        'loss.daam.weight_triplet': 1.0,
        'loss.daam.triplet_margin': 0.0,
    }
    clusters = of('dbscan', 'source_bn')

    def peer(key: str, title: str, *parts: dict, **more: Any) -> Row:
        settings = {k: v for part in (plain, *parts) for k, v in part.items()}
        return Row(key, title, settings, reference=PLUS, ours=True, **more)

    return [
        peer('peer_kmeans', 'k-means self-training'),
        peer('peer_dbscan', 'DBSCAN self-training', clusters),
        peer('peer_mmt', 'MMT with one network', teacher),
        peer(
            'cluster_contrast',
            'Cluster Contrast',
            clusters,
            method='cluster_contrast',
        ),
    ]


def limits() -> list[Row]:
    """What true labels give with the same network and augmentation."""
    plus, reads = plus_settings(), {'reference': PLUS, 'ours': True}
    return [
        Row('plus_oracle', 'plus, true labels', plus, seat='oracle', **reads),
        Row(
            'plus_supervised',
            'supervised on the target',
            plus,
            method='supervised',
            stage='supervised',
            **reads,
        ),
    ]


def plus_suite(seeds: tuple[int, ...]) -> Suite:
    """Each ingredient added and removed, what may come on top, peers."""
    plus = plus_settings()
    rows = [
        DIRECT._replace(reference=FULL),
        ADABN._replace(reference=FULL),
        FULL_ROW,
        plus_row(),
    ]
    for key, (title, names) in INGREDIENTS.items():
        added = {name: plus[name] for name in names}
        rows.append(Row(f'add_{key}', f'full + {title}', added, ours=True))
    for key, (title, names) in INGREDIENTS.items():
        left = {k: v for k, v in plus.items() if k not in names}
        rows.append(_on_plus(f'less_{key}', f'plus without: {title}', left))
    for key, (title, more) in FURTHER.items():
        both = {**plus, **more}
        rows.append(_on_plus(f'plus_{key}', f'plus + {title}', both))
    rival = peers()
    rows += [*rival, *limits()]
    claims = [Claim(PLUS, FULL, least=8.0)]
    claims += [Claim(PLUS, row.key) for row in rival]
    return Suite(PLUS, 'The modern recipe', rows, claims, seeds, NOTE)


def _on_plus(key: str, title: str, settings: dict[str, Any]) -> Row:
    return Row(key, title, settings, reference=PLUS, ours=True)


def pairs_suite(seeds: tuple[int, ...]) -> Suite:
    """Plus, the faithful model, peers and supervised on other pairs."""
    rows, claims = [], []
    every = [
        DIRECT._replace(reference=FULL),
        FULL_ROW,
        plus_row(),
        *peers(),
        limits()[1],
    ]
    for pair in PAIR_NAMES:
        for row in every:
            rows.append(
                row._replace(
                    key=f'{pair}_{row.key}',
                    title=f'{pair}: {row.title}',
                    settings={**row.settings, 'data.synthetic.pair': pair},
                    reference=f'{pair}_{row.reference}',
                    ours=True,
                )
            )
        claims.append(Claim(f'{pair}_{PLUS}', f'{pair}_{FULL}'))
        claims += [
            Claim(f'{pair}_{PLUS}', f'{pair}_{row.key}') for row in peers()
        ]
    return Suite('pairs', 'Other pairs', rows, claims, seeds, NOTE)

"""The suites `plus` and `pairs`: the modern recipe beside its peers."""

from typing import Any

from yacs.config import CfgNode as CN

from tables.peers import peers
from tables.recipe import (
    BALANCED,
    INGREDIENTS,
    LONG,
    PLUS,
    drops_kept,
    limits,
    long_rows,
    on_plus,
    plus_row,
    plus_settings,
    without_daam,
)
from tables.rows import ADABN, DIRECT, FULL, FULL_ROW, Claim, Row, Suite

_CROPS = ['random_flip', 'random_crop']
# What may go on top of it.
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    'jitter_before': (
        'with jitter in pretraining too',
        {'data.pretrain_transforms': []},
    ),
    'erase': (
        'with random erasing in rounds',
        {'data.transforms': [*_CROPS, 'color_jitter', 'random_erase']},
    ),
    'pk': ('with balanced batches', BALANCED),
    'soft': ('with soft targets', {'loss.daam.weight_soft': 0.5}),
    'no_ds': ('without L_DS', {'loss.daam.domain_loss': 'none'}),
}
# Plus was tuned on the demo's pair and on `hard`, on none of these. The first
# have a target of their own, the others the demo's with other training images
# or without camera ids.
OTHER_WORLDS = ('far', 'near', 'swapped')
PAIR_NAMES = (*OTHER_WORLDS, 'few', 'unequal', 'one-camera', 'no-cameras')
# Where a method fails on `far`, that pair decides its mean.
BUT_FAR = tuple(pair for pair in PAIR_NAMES if pair != 'far')
PAIRS_NOTE = (
    '`far`, `near` and `swapped` have targets of their own. `few`, `unequal`, '
    "`one-camera` and `no-cameras` are the demo's pair with other training "
    'images of the target, or without its camera ids: source and test images '
    'are the same, and so is direct transfer. Over pairs, intervals are over '
    'seeds, of means over the pairs: what they say is of these pairs, not of '
    'any pair. `far` by itself decides much of the means, so that they are '
    'also given without it.\n\n'
)
NOTE = (
    'All rows that adapt see as many images, but those called long, whose '
    'rounds see twice as many. None of these seeds was tuned on. '
    '[plus.md](plus.md) has what peers share with plus and what they lack, '
    '[plus-tuning.md](plus-tuning.md) how all were tuned, and in how many '
    'trials. "plus without attention and L_DS" is DBSCAN self-training with '
    'averaged weights and camera-centred features: what plus is above it, '
    'attention and L_DS add. '
    'Supervised training has the schedule of the pretraining and no averaged '
    'weights; "true labels" is plus with them in the place of its clusters.'
)


def _methods(plus: dict[str, Any]) -> list[Row]:
    """What is compared on every pair."""
    return [
        DIRECT._replace(reference=FULL),
        FULL_ROW,
        plus_row(plus),
        without_daam(plus),
        *peers(plus),
        *limits(plus),
        *long_rows(plus),
    ]


def plus_suite(seeds: tuple[int, ...], cfg: CN) -> Suite:
    """Each ingredient added and removed, what may come on top, peers.

    Args:
        seeds: of the suite.
        cfg: the base settings.
    """
    plus = plus_settings(cfg)
    direct, *others = _methods(plus)
    rows = [direct, ADABN._replace(reference=FULL), *others]
    for key, part in INGREDIENTS.items():
        added = drops_kept({name: plus[name] for name in part.keys}, cfg)
        rows.append(
            Row(f'add_{key}', f'full + {part.title}', added, ours=True)
        )
    for key, part in INGREDIENTS.items():
        kept = {k: v for k, v in plus.items() if k not in part.keys}
        left = drops_kept(kept, cfg)
        rows.append(on_plus(f'less_{key}', part.without, left))
    for key, (change, more) in FURTHER.items():
        rows.append(on_plus(f'plus_{key}', change, {**plus, **more}))
    return Suite(PLUS, rows, _claims(plus, 8.0), seeds, NOTE)


def pairs_suite(seeds: tuple[int, ...], cfg: CN) -> Suite:
    """Plus, the faithful model, peers and true labels on other pairs.

    Args:
        seeds: of the suite.
        cfg: the base settings.
    """
    plus = plus_settings(cfg)
    rows: list[Row] = []
    for pair in PAIR_NAMES:
        for row in _methods(plus):
            rows.append(
                row._replace(
                    key=f'{pair}_{row.key}',
                    title=f'{pair}: {row.title}',
                    settings={**row.settings, 'data.synthetic.pair': pair},
                    reference=f'{pair}_{row.reference}',
                    ours=True,
                )
            )
    no_daam = without_daam(plus).key
    claims = [Claim(PLUS, FULL, over=(pair,)) for pair in PAIR_NAMES]
    # What centring adds to the same training.
    claims += [
        Claim(no_daam, 'peer_dbscan_ema', over=(pair,)) for pair in PAIR_NAMES
    ]
    for over in (PAIR_NAMES, BUT_FAR, OTHER_WORLDS):
        claims += _claims(plus, 12.0, over=over)
    return Suite('pairs', rows, claims, seeds, PAIRS_NOTE + NOTE)


def _claims(
    plus: dict[str, Any], least: float, over: tuple[str, ...] = ()
) -> list[Claim]:
    """Plus beside the faithful model, its peers and true labels.

    Args:
        plus: the recipe's settings.
        least: mAP by which it is wanted to be above the faithful model.
        over: pairs, as a claim has them.
    """
    rival, no_daam = peers(plus), without_daam(plus)
    orders = [Claim(PLUS, FULL, least=least)]
    orders += [Claim(PLUS, row.key) for row in (no_daam, *rival)]
    # Without the attention: what centring alone is good for.
    orders += [Claim(no_daam.key, row.key) for row in rival]
    orders += [
        Claim(PLUS, f'{PLUS}_supervised', share=0.90),
        Claim(PLUS, f'{PLUS}_oracle', share=0.90),
        Claim(LONG, f'{LONG}_supervised', share=0.97),
        Claim(LONG, f'{LONG}_oracle', share=0.97),
    ]
    return [claim._replace(over=over) for claim in orders]

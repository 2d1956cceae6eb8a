"""The suite `own`: what a user of unlabelled cameras has chosen for them.

Rounds by their label-free score, K by the silhouette, a threshold from pseudo
labels. The form of the score was found on seeds from 100 on; every run here is
of other seeds, and most are of other pairs.
"""

from typing import Any

from tables.rows import FULL_ROW, Row, Suite

SELECTED = {'train.select': 'health', 'train.rounds': 6}
APART = {'train.forward': 'separate', 'adapt_bn': False}
# Runs that decline or collapse: key, pair, title, seat, settings.
DECLINING: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ('demo_grl', 'demo', 'GRL', '', {'loss.daam.domain_loss': 'grl'}),
    ('easy_grl', 'easy', 'GRL', '', {'loss.daam.domain_loss': 'grl'}),
    ('demo_k', 'demo', '4 times K', 'clusters*4', {}),
    ('easy_k', 'easy', 'a quarter of K', 'clusters*0.25', {}),
    ('demo_apart', 'demo', 'separate forwards, no adapt_bn', '', APART),
    ('easy_apart', 'easy', 'separate forwards, no adapt_bn', '', APART),
)
SELECTION_PAIRS = (
    *('demo', 'hard', 'easy', 'swapped', 'few'),
    *('unequal', 'one-camera', 'no-cameras'),
)
SEARCH_PAIRS = ('hard', 'easy', 'swapped', 'unequal')
FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
AUTO = {'pseudo_labels.cluster_search': 'silhouette'}
NOTE = (
    'True identities of the target are read after a run, to judge it. The '
    'first table has runs of six rounds with `train.select health`: mAP of '
    'the best round, what is lost by the selected and by the last one, and '
    'the rank correlation of score and mAP over the rounds. Its last columns '
    'are the shares of pairs of two cameras among the test images that a '
    'threshold for 1 % false accepts, from pseudo labels, really '
    'accepts and rejects wrongly.'
)


def own_suite(seeds: tuple[int, ...]) -> Suite:
    """Rows of selected runs, of runs that decline, of K found and swept."""

    def on(pair: str, row: Row) -> Row:
        settings = {'data.synthetic.pair': pair, **row.settings}
        return row._replace(settings=settings, ours=True)

    selected = Row('', '', SELECTED, after='judge', reference='')
    rows = [
        on(pair, selected._replace(key=f'{pair}_select', title=pair))
        for pair in SELECTION_PAIRS
    ]
    rows += [
        on(
            pair,
            selected._replace(
                key=f'{key}_declines',
                title=f'{pair}, {title}',
                settings={**SELECTED, **settings},
                seat=seat,
            ),
        )
        for key, pair, title, seat, settings in DECLINING
    ]
    for pair in SEARCH_PAIRS:
        auto = f'{pair}_auto'
        found = Row(auto, f'{pair}, K found', AUTO, reference='')
        rows.append(on(pair, found))
        for factor in FACTORS:
            swept = FULL_ROW if factor == 1 else Row('', '', {})
            seat = '' if factor == 1 else f'clusters*{factor:g}'
            rows.append(
                on(
                    pair,
                    swept._replace(
                        key=f'{pair}_k{factor:g}',
                        title=f'{pair}, {factor:g} times K',
                        seat=seat,
                        reference=auto,
                    ),
                )
            )
    return Suite('own', rows, [], seeds, NOTE)

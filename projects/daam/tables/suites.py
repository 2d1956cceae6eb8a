"""What is compared: suites and the orders that the paper claims.

A row is a set of settings over the base settings, which are the full model,
or one of the baseline methods. Rows of the paper's suites have one schedule;
the modern recipe and its peers, in ``plus``, have another.
"""

from typing import Any

from yacs.config import CfgNode as CN

from tables.choices import choices, clusters
from tables.own import own_suite
from tables.plus import pairs_suite, plus_suite
from tables.rows import (
    ADABN,
    DIRECT,
    FULL,
    FULL_ROW,
    PLAIN,
    Claim,
    Row,
    Suite,
    embedded,
)


def suites(cfg: CN) -> dict[str, Suite]:
    """All suites for the base settings, by key."""
    five, three = tuple(range(5)), tuple(range(3))
    found = [
        _table3(five),
        _table4(five),
        Suite('fig5', [FULL_ROW], [], five),
        Suite('fig6', clusters(cfg), [], three),
        _baselines(five),
        Suite(
            'choices',
            choices(cfg),
            [],
            three,
            'Every row is ours. A row whose interval holds 0 is a choice '
            'that is not shown to matter.',
        ),
    ]
    if embedded(cfg):
        found += [
            plus_suite(five, cfg),
            pairs_suite(three, cfg),
            own_suite(three),
        ]
    return {suite.key: suite for suite in found}


def _table3(seeds: tuple[int, ...]) -> Suite:
    no_orth = {'loss.daam.weight_orth': 0.0}
    rows = [
        DIRECT,
        ADABN,
        Row(
            'direct_attention',
            'direct transfer, with attention',
            {},
            stage='direct',
            reference='direct',
            ours=True,
        ),
        Row(
            'adabn_attention',
            'AdaBN, with attention',
            {},
            stage='adabn',
            reference='adabn',
            ours=True,
        ),
        Row('dsh', 'DSH', PLAIN, reference='direct'),
        Row(
            'dsh_dsp',
            'DSH + DSP',
            {'model.daam.attention': 'none', **no_orth},
            reference='dsh',
        ),
        Row(
            'attention',
            'DSH with attention, no DSP branch',
            {'model.daam.dsp_branch': False},
            reference='dsh',
            ours=True,
        ),
        Row(
            'ia',
            'DSH + DSP + IA',
            {'model.daam.attention': 'independent', **no_orth},
            reference='dsh_dsp',
        ),
        Row('daam', 'DSH + DSP + DAAM', no_orth, reference='ia'),
        Row(
            FULL,
            'DSH + DSP + DAAM + Orth (full DAAM)',
            {},
            reference='daam',
        ),
    ]
    claims = [
        Claim('dsh', 'direct', (31.1, 30.7)),
        Claim('dsh_dsp', 'dsh', (-0.1, 0.1), equal=True),
        Claim('ia', 'dsh_dsp', (0.6, 0.7)),
        Claim('daam', 'ia', (3.0, 2.2)),
        Claim(FULL, 'daam', (1.0, 0.6)),
        Claim(FULL, 'dsh', (4.5, 3.6)),
        Claim(FULL, 'adabn', least=8.0),
        Claim(FULL, 'adabn_attention', least=8.0),
        Claim('attention', 'dsh'),
        Claim('daam', 'attention'),
    ]
    note = (
        'The paper has neither AdaBN nor an attention without a DSP branch. '
        'Without the first, re-estimated BatchNorm statistics are credited '
        'to the rounds; without the second, a channel attention to DAAM.'
    )
    return Suite('table3', rows, claims, seeds, note)


def _table4(seeds: tuple[int, ...]) -> Suite:
    def domain_loss(key: str, title: str, value: str, **more: Any) -> Row:
        return Row(key, title, {'loss.daam.domain_loss': value}, **more)

    rows = [
        FULL_ROW,
        domain_loss('no_ds', 'without L_DS', 'none'),
        domain_loss('grl', 'GRL instead of L_DS', 'grl'),
        Row(
            'no_weights',
            'L_ReIDt without weights',
            {'pseudo_labels.sample_weights': 'none'},
        ),
        domain_loss('mmd', 'MMD instead of L_DS', 'mmd', ours=True),
        Row(
            'shuffled',
            'weights shuffled over images',
            {},
            seat='shuffled',
            ours=True,
        ),
        Row(
            'constant',
            'weights constant at their mean',
            {},
            seat='constant',
            ours=True,
        ),
    ]
    claims = [
        Claim(FULL, 'no_ds', (2.3, 2.6)),
        Claim(FULL, 'grl', (0.7, 1.1)),
        Claim(FULL, 'no_weights', (10.4, 8.2)),
        Claim(FULL, 'mmd'),
        Claim(FULL, 'shuffled'),
        Claim(FULL, 'constant'),
    ]
    note = (
        'Weights of Eq. 9 have a mean below 0.5, so "without weights" also '
        'is a larger loss on the target; the constant row has the same mean '
        'loss weight and no information, the shuffled row the same spread.'
    )
    return Suite('table4', rows, claims, seeds, note)


def _baselines(seeds: tuple[int, ...]) -> Suite:
    plain_loop = {
        **PLAIN,
        'loss.daam.domain_loss': 'none',
        'pseudo_labels.sample_weights': 'none',
    }
    rows = [
        DIRECT._replace(reference=FULL),
        ADABN._replace(reference=FULL),
        Row(
            'kmeans',
            'k-means self-training, no attention',
            plain_loop,
            ours=True,
        ),
        Row('pul', 'PUL', PLAIN, method='pul'),
        Row('arn', 'ARN', PLAIN, method='arn'),
        FULL_ROW,
        Row('oracle', 'oracle: true target labels', {}, seat='oracle'),
        Row(
            'supervised',
            'supervised on the target',
            {},
            method='supervised',
            stage='supervised',
            ours=True,
        ),
    ]
    claims = [
        Claim(FULL, 'direct', (35.6, 34.3)),
        Claim(FULL, 'pul', (32.6, 32.4)),
        Claim(FULL, 'arn', (13.7, 15.4)),
        Claim(FULL, 'adabn', least=8.0),
        Claim(FULL, 'kmeans'),
    ]
    note = (
        'The rows "oracle" and "supervised" read the true identities of the '
        'target. Supervised trains on as many images as the adaptation sees '
        'in pretraining and rounds together, all of them of the target. The '
        'other methods start from the same source pretraining and see as '
        'many images as the rounds do.'
    )
    return Suite('baselines', rows, claims, seeds, note)

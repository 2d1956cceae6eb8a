"""What is compared: rows, suites, and the orders that the paper claims.

A row is a set of settings over the base settings, which are the full model,
or one of the baseline methods. No row has a schedule of its own.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yacs.config import CfgNode as CN

from torchreid_daam.config import flatten

LETTER = Path(__file__).resolve().parents[1] / 'configs' / 'letter.yaml'
# The five departures of the other presets, which `letter` takes back.
DEPARTURES = (
    'adapt_bn',
    'model.daam.gate',
    'loss.daam.reduction',
    'loss.daam.orth',
    'pseudo_labels.normalize',
    'pseudo_labels.weight_scale',
)
FULL = 'full'


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        key: its name on the command line.
        title: its name in the table.
        settings: over the base settings.
        method: ``daam``, ``supervised``, ``pul`` or ``arn``.
        stage: of the run's rows, the one that is reported.
        seat: what takes a seat of the engine; see ``seats``.
        reference: key of the row that it is compared with.
        ours: whether the paper has no such row.
        x: where it stands in a figure.
    """

    key: str
    title: str
    settings: dict[str, Any]
    method: str = 'daam'
    stage: str = 'final'
    seat: str = ''
    reference: str = FULL
    ours: bool = False
    x: float | None = None


class Claim(NamedTuple):
    """An order of two rows.

    Attributes:
        better: key of the row that is said to be better.
        worse: key of the other.
        paper: what the paper's mAP differ by, Duke to Market and Market to
            Duke; empty where the claim is not the paper's.
        equal: whether the claim is that they do not differ.
        least: mAP by which the first is wanted to be better.
    """

    better: str
    worse: str
    paper: tuple[float, ...] = ()
    equal: bool = False
    least: float = 0.0


class Suite(NamedTuple):
    """A table or a figure."""

    key: str
    title: str
    rows: list[Row]
    claims: list[Claim]
    seeds: tuple[int, ...]
    note: str = ''


PLAIN = {'model.daam.attention': 'none', 'model.daam.dsp_branch': False}
FULL_ROW = Row(FULL, 'full DAAM', {})
DIRECT = Row('direct', 'direct transfer', PLAIN, stage='direct', reference='')
ADABN = Row(
    'adabn', 'AdaBN', PLAIN, stage='adabn', reference='direct', ours=True
)


def suites(cfg: CN) -> dict[str, Suite]:
    """All suites for the base settings, by key."""
    five, three = tuple(range(5)), tuple(range(3))
    found = [
        _table3(five),
        _table4(five),
        Suite('fig5', 'Figure 5: rounds', [FULL_ROW], [], five),
        Suite('fig6', 'Figure 6: clusters', _clusters(cfg), [], three),
        _baselines(five),
        Suite(
            'choices',
            'Choices where the paper is silent or was departed from',
            _choices(cfg),
            [],
            three,
            'Every row is ours. A row whose interval holds 0 is a choice '
            'that is not shown to matter.',
        ),
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
    title = 'Table 3: modules of the network'
    return Suite('table3', title, rows, claims, seeds, note)


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
    return Suite('table4', 'Table 4: losses', rows, claims, seeds, note)


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
    return Suite('baselines', 'Baselines', rows, claims, seeds, note)


def embedded(cfg: CN) -> bool:
    """Whether all data is drawn."""
    names = [*cfg.data.sources, *cfg.data.targets]
    return all(name.startswith('synthetic_') for name in names)


def _clusters(cfg: CN) -> list[Row]:
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


def _choices(cfg: CN) -> list[Row]:
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
        Row('separate', 'separate batches', {}, seat='separate', ours=True),
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

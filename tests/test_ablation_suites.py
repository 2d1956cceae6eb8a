"""Rows, shared pretraining and the identity of runs."""

import pytest
import yaml

from tables import jobs, plus, recipe, source
from tables.choices import DEPARTURES
from tables.jobs import (
    ROUND_KEYS,
    check_base,
    job_of,
    plan,
    pretraining,
    settings,
)
from tables.published import PUBLISHED, table
from tables.rows import EMBEDDED_ONLY, Row
from tables.suites import suites
from tiny import tiny_config
from torchreid_daam.checks import check_config
from torchreid_daam.config import flatten, get_default_config, merge_file
from torchreid_daam.data.synthetic import PAIRS
from torchreid_daam.errors import InputError


@pytest.fixture
def base(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train.epoch_length = '10'
    return cfg


def rows_of(suite):
    return {row.key: row for row in suite.rows}


def pretraining_of(cfg, row):
    (before,) = [j for j in plan(cfg, [row], [0]).values() if not j.needs]
    return before.id


def test_every_row_has_settings_that_are_allowed(base):
    for suite in suites(base).values():
        for row in suite.rows:
            check_config(job_of(base, row, 0).cfg)


def test_rows_claims_and_references_exist(base):
    for suite in suites(base).values():
        keys = [row.key for row in suite.rows]
        assert len(keys) == len(set(keys))
        for row in suite.rows:
            assert row.reference in (*keys, ''), row.key
        for claim in suite.claims:
            ends = {claim.better, claim.worse}
            pairs = [f'{pair}_' for pair in claim.over] or ['']
            assert {p + end for p in pairs for end in ends} <= set(keys)


def test_one_key_is_one_run_in_every_suite(base):
    ids = {}
    for suite in suites(base).values():
        for row in suite.rows:
            job = job_of(base, row, 0)
            assert ids.setdefault(row.key, job.id) == job.id


def test_suites_of_the_paper(base):
    found = suites(base)
    assert list(rows_of(found['table4'])) == [
        *('full', 'no_ds', 'grl', 'no_weights'),
        *('mmd', 'shuffled', 'constant'),
    ]
    assert [row.x for row in found['fig6'].rows] == [0.5, 0.75, 1, 1.5, 2]
    base.data.sources, base.data.targets = ['market1501'], ['msmt17']
    rows = suites(base)['fig6'].rows
    assert [row.x for row in rows] == list(range(300, 1001, 50))


def test_letter_takes_all_departures_back(base):
    row = rows_of(suites(base)['choices'])['letter']
    assert set(DEPARTURES) < set(row.settings)
    default = flatten(get_default_config())
    for key in DEPARTURES:
        assert row.settings[key] != default[key]


def test_seeds_are_of_training_and_data(base):
    cfg = job_of(base, suites(base)['fig5'].rows[0], 3).cfg
    assert (cfg.train.seed, cfg.data.synthetic.seed) == (3, 3)


# Another value for settings that act in rounds alone, and for some that do
# not. Rates are read by the optimiser that pretraining has too.
ROUNDS_ONLY = {
    'adapt_bn': False,
    'train.rounds': 3,
    'train.round_epoch': 4,
    'train.epoch_length': '20',
    'train.stepsize': '[2]',
    'train.stop_agreement': 0.5,
    'loss.daam.weight_reid_t': 0.5,
    'loss.daam.weight_ds': 0,
    'loss.daam.weight_dsp': 0,
    'loss.daam.weight_orth': 0,
    'loss.daam.orth': 'paper',
    'loss.daam.domain_loss': 'grl',
    'pseudo_labels.sample_weights': 'none',
    'pseudo_labels.weight_scale': 'raw',
    'pseudo_labels.normalize': False,
    'pseudo_labels.head_init': 'centers',
    'pseudo_labels.num_clusters': 3,
    'pseudo_labels.cluster_search': 'silhouette',
    'pseudo_labels.center_cameras': True,
    'pseudo_labels.eps': 0.5,
    'pseudo_labels.min_samples': 2,
    'pseudo_labels.k1': 9,
    'pseudo_labels.k2': 2,
    'sampler.train_sampler_t': 'PseudoIdentitySampler',
    'train.ema_decay': 0.9,
    'train.forward': 'separate',
    'loss.daam.weight_soft': 1,
}
BEFORE_TOO = {
    'model.daam.attention': 'none',
    'model.daam.dsp_branch': False,
    'model.daam.gate': 'literal',
    'model.last_stride': 1,
    'loss.daam.reduction': 'sum',
    'loss.daam.weight_reid_s': 2,
    'train.lr': 0.5,
    'train.pretrain_lr': 0.5,
    'train.pretrain_epoch': 2,
    'train.pretrain_stepsize': '[1]',
    'train.gamma': 0.5,
    'train.lr_scheduler': 'cosine',
    'train.pretrain_lr_scheduler': 'cosine',
    'train.batch_size': 4,
    'data.height': 64,
    'data.transforms': 'random_flip',
    'sgd.momentum': 0.5,
    'sampler.train_sampler': 'RandomIdentitySampler',
    'data.pretrain_transforms': 'random_flip',
    'test.dist_metric': 'cosine',
}


def test_what_acts_in_rounds_alone_shares_the_pretraining(base):
    plain = Row('full', '', {})
    for key, value in ROUNDS_ONLY.items():
        row = Row('other', '', {key: value})
        assert pretraining_of(base, row) == pretraining_of(base, plain), key
        assert job_of(base, row, 0).id != job_of(base, plain, 0).id, key


def test_what_acts_before_does_not(base):
    plain = pretraining_of(base, Row('full', '', {}))
    for key, value in BEFORE_TOO.items():
        assert pretraining_of(base, Row('o', '', {key: value})) != plain, key


def test_every_setting_of_rounds_was_looked_at():
    # train.select and pseudo_labels.method have one value each.
    untried = {'train.select', 'pseudo_labels.method'}
    assert set(ROUND_KEYS) == set(ROUNDS_ONLY) | untried


def test_seeds_do_not_share(base):
    row = Row('full', '', {})
    assert len(plan(base, [row], [0, 1])) == 4


def test_pretraining_comes_first_and_once(base):
    found = plan(base, suites(base)['table4'].rows, [0])
    needs = [job.needs for job in found.values()]
    assert needs[0] == ''
    assert set(needs[1:]) == {next(iter(found))}


def test_frozen_layers_are_not_shared(base):
    base.train.fixbase_epoch = 1
    (job,) = plan(base, [Row('full', '', {})], [0]).values()
    assert job.needs == ''
    assert job.cfg.train.pretrain_epoch == 1


def test_pretraining_has_no_rounds_and_default_heads(base):
    base.loss.daam.domain_loss = 'grl'
    cfg = pretraining(base)
    assert cfg.train.rounds == 0
    assert cfg.loss.daam.domain_loss == 'occ'
    assert cfg.train.pretrain_epoch == base.train.pretrain_epoch
    assert base.train.rounds == 1


def test_identity_follows_the_source(base, monkeypatch):
    row = Row('full', '', {})
    before = job_of(base, row, 0).id
    other = job_of(base, row._replace(method='pul'), 0).id
    assert before != other
    monkeypatch.setattr(jobs, 'source_digest', lambda *_: 'another')
    assert job_of(base, row, 0).id != before


def test_source_digest_reads_the_package_and_the_own_file(monkeypatch):
    monkeypatch.setattr(source, '_digests', {})
    digests = {source.source_digest(m) for m in ('', 'pul', 'arn')}
    assert len(digests) == 3
    assert source.source_digest('', 'oracle') not in digests


def test_what_a_reader_alone_sees_is_no_part_of_the_source():
    one = '''"""Module."""

# About f.
def f(x):
    """Twice.

    # No comment.
    """
    y = 'a # b'  # of x
    return x + x
'''
    # Blank lines that no comment made stay.
    wanted = ['', 'def f(x):', "    y = 'a # b'", '    return x + x']
    assert source.code(one).splitlines() == wanted
    other = one.replace('About f', 'On f').replace('Twice', 'Doubled')
    assert source.code(other) == source.code(one)
    for old, new in (('x + x', 'x * 2'), ("'a # b'", "'a # c'")):
        assert source.code(one.replace(old, new)) != source.code(one)


def test_where_it_lies_is_no_part_of_drawn_data(base):
    row = Row('full', '', {})
    before = job_of(base, row, 0).id
    base.data.root, base.data.save_dir = '/elsewhere', '/there'
    base.data.workers = 3
    assert job_of(base, row, 0).id == before
    base.data.sources, base.data.targets = ['market1501'], ['msmt17']
    real = job_of(base, row, 0).id
    base.data.root = '/another'
    assert job_of(base, row, 0).id != real


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.load_weights', 'x.pth'),
        ('model.resume', 'x.pth'),
        ('test.evaluate', True),
        ('loss.name', 'softmax'),
        ('train.pretrain_epoch', 0),
        ('train.rounds', 0),
    ],
)
def test_base_settings_that_leave_nothing_to_compare(base, key, value):
    *path, name = key.split('.')
    base[path[0]][name] = value
    with pytest.raises(InputError, match=key):
        check_base(base)


def test_published_figures_stand_alone():
    lines = table().splitlines()
    assert len(lines) == len(PUBLISHED) + 3
    assert lines[-1].count('not measured here') == 8
    assert '53.1' in lines[-2] and '48.8' in lines[-2]
    assert all(line.count('|') == 10 for line in lines)


# The recipe


def test_ingredients_are_all_that_plus_has():
    found = {k for part in recipe.INGREDIENTS.values() for k in part.keys}
    with open(recipe.PRESET, encoding='utf-8') as file:
        preset = flatten(yaml.safe_load(file))
    with open(recipe.PRESET.with_name('synthetic.yaml')) as file:
        demo = flatten(yaml.safe_load(file))
    changed = {k for k, v in preset.items() if demo.get(k) != v}
    assert changed == {*found, 'data.save_dir'}
    cfg = get_default_config()
    merge_file(cfg, str(recipe.PRESET.with_name('synthetic.yaml')))
    settings = recipe.plus_settings(cfg)
    assert settings == {key: preset[key] for key in settings}


def test_an_ingredient_is_added_and_removed_alone(base):
    rows = rows_of(suites(base)['plus'])
    whole = rows['plus'].settings
    for key, part in recipe.INGREDIENTS.items():
        added, left = rows[f'add_{key}'].settings, rows[f'less_{key}'].settings
        # The length of an epoch says where drops are, and nothing else.
        added, left = _without_length(added), _without_length(left)
        assert set(added) == set(part.keys) - {'train.round_epoch'}
        assert {**left, **added} == _without_length(whole)
        assert set(left) == set(_without_length(whole)) - set(part.keys)
    for key, (_, more) in plus.FURTHER.items():
        assert rows[f'plus_{key}'].settings == {**whole, **more}


def test_peers_differ_in_what_is_said_of_them(base):
    rows = rows_of(suites(base)['plus'])
    flat = {key: flatten(settings(base, row, 0)) for key, row in rows.items()}

    def moved(first, second):
        one, other = flat[first], flat[second]
        return {key: one[key] for key in one if one[key] != other[key]}

    # docs/plus.md reads what each of these adds from a difference of two.
    assert moved('plus_no_daam', 'peer_dbscan_ema') == {
        'pseudo_labels.center_cameras': True
    }
    assert moved('plus', 'plus_no_daam') == {
        'model.daam.attention': 'residual',
        'loss.daam.domain_loss': 'occ',
    }
    assert moved('peer_dbscan_ema', 'peer_dbscan') == {'train.ema_decay': 0.98}
    assert moved('peer_mmt', 'peer_dbscan_ema') == {
        'loss.daam.weight_soft': 0.5
    }
    assert moved('cluster_contrast', 'peer_dbscan') == {'train.lr': 0.05}
    assert set(moved('peer_kmeans', 'peer_dbscan')) == {
        'pseudo_labels.method',
        'pseudo_labels.eps',
        'pseudo_labels.k1',
        'sampler.train_sampler_t',
    }
    of_peers = [key for key in rows if key.startswith(('peer_', 'cluster_c'))]
    assert len(of_peers) == 5
    for key in of_peers:
        # The paper's own parts are in none of them.
        assert flat[key]['model.daam.attention'] == 'none'
        assert not flat[key]['model.daam.dsp_branch']
        assert flat[key]['loss.daam.domain_loss'] == 'none'
        # What does not cluster or train is plus's own.
        shared = moved(key, 'plus_no_daam')
        for name in ('test.feature', 'data.transforms', 'train.forward'):
            assert name not in shared, key


def _without_length(settings):
    length = {'train.round_epoch', 'train.epoch_length'}
    return {k: v for k, v in settings.items() if k not in length}


def test_every_row_has_its_images_and_the_drops_of_the_base(base):
    train = base.train
    train.rounds, train.round_epoch, train.stepsize = 4, 10, [1, 6]
    for name in ('plus', 'pairs'):
        for key, row in rows_of(suites(base)[name]).items():
            train = settings(base, row, 0).train
            steps = train.round_epoch * int(train.epoch_length)
            twice = 2 if 'plus_long' in key else 1
            assert train.rounds * steps == twice * 4 * 100, key
            if train.lr_scheduler == 'multi_step':
                shares = [e / train.round_epoch for e in train.stepsize]
                assert shares == [0.1, 0.6], key
            else:
                assert train.lr_scheduler == 'cosine', key


def test_augmentation_of_rounds_shares_the_pretraining(base):
    base.data.transforms = ['random_flip', 'random_crop']
    rows = rows_of(suites(base)['plus'])
    plain = pretraining_of(base, rows['full'])
    for key in ('add_apart', 'add_dbscan', 'add_equal', 'add_jitter'):
        assert pretraining_of(base, rows[key]) == plain, key
    # Without a DSP branch there is another network.
    assert pretraining_of(base, rows['plus']) != plain
    same = pretraining_of(base, rows['plus'])
    for key in ('plus_erase', 'less_jitter', 'less_teacher', 'plus_long'):
        assert pretraining_of(base, rows[key]) == same, key
    assert pretraining_of(base, rows['plus_jitter_before']) != same


def test_each_pair_is_a_pair_and_stands_by_itself(base):
    rows = rows_of(suites(base)['pairs'])
    # Settings were chosen on the demo's pair and on `hard`.
    tuned_on = {'demo', 'hard'}
    assert set(plus.PAIR_NAMES) == set(PAIRS) - tuned_on - {'tiny', 'easy'}
    for key, row in rows.items():
        pair = row.settings['data.synthetic.pair']
        assert key.startswith(pair) and row.reference.startswith(pair)
        assert job_of(base, row, 0).cfg.data.synthetic.pair == pair
    base.data.sources = ['market1501']
    assert not set(EMBEDDED_ONLY) & set(suites(base))

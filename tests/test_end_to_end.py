"""Whole runs on small folders, from the command to the run's files."""

import json
import math
import shutil
from importlib.metadata import version

import numpy as np
import pytest
import torch
import torchreid
import yaml

import torchreid_daam
from command import MAIN, TINY, arguments, run
from layouts import DUKE, write_duke, write_market
from torchreid_daam import get_default_config
from torchreid_daam.checks import check_config
from torchreid_daam.cli import adapt_main
from torchreid_daam.config import merge_file
from torchreid_daam.runs.checkpoint import FORMAT
from torchreid_daam.runs.folder import RunFolder

IDS = 6  # 24 training images
ROW = {'stage', 'round', 'epoch', 'dataset', 'mAP'}
ROW |= {'rank1', 'rank5', 'rank10', 'rank20'}
SCORES = ('mAP', 'rank1', 'rank5', 'rank10', 'rank20')
TWO_ROUNDS = ('train.rounds', 2, 'train.round_epoch', 2)
TWO_ROUNDS += ('train.stepsize', '[1]')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_market(root, ids=IDS)
    write_duke(root, ids=IDS)
    return root


@pytest.fixture
def adapt(root, tmp_path):
    """Runs the command here; returns the run's folder."""

    def call(*rest, name='run', **where):
        folder = tmp_path / name
        code = adapt_main(arguments(root, *rest, save_dir=folder, **where))
        assert code == 0
        return folder

    return call


def rows(folder, stage=None):
    found = json.loads((folder / 'results.json').read_text())['rows']
    return [row for row in found if stage in (None, row['stage'])]


def stages(folder):
    return [(r['stage'], r['round'], r['epoch']) for r in rows(folder)]


def scores(folder, stage):
    (row,) = rows(folder, stage)
    return [row[name] for name in SCORES]


def weights(folder, name='selected'):
    path = folder / 'checkpoints' / f'{name}.pth'
    return torch.load(path, weights_only=True)['state_dict']


def assert_equal(one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


# Market-1501 -> DukeMTMC-reID in a process of its own


@pytest.fixture(scope='module')
def adapted(root, tmp_path_factory):
    """The folder of a run of two rounds, and what it printed."""
    folder = tmp_path_factory.mktemp('run') / 'market2duke'
    done = run(
        *arguments(root, *TWO_ROUNDS, 'train.seed', 3, save_dir=folder),
        door=MAIN,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    return folder, done.stdout


def test_results(adapted):
    folder, _ = adapted
    results = json.loads((folder / 'results.json').read_text())
    assert set(results) == {'format', 'config_hash', 'seed', 'rows'}
    assert (results['format'], results['seed']) == (1, 3)
    assert len(results['config_hash']) == 16
    assert stages(folder) == [
        ('direct', 0, 1),
        ('adabn', 0, 1),
        ('round', 1, 3),
        ('round', 2, 5),
        ('final', 2, 5),
    ]
    for row in results['rows']:
        assert set(row) == ROW
        assert row['dataset'] == 'dukemtmcreid'
        ranks = [row[name] for name in SCORES[1:]]
        assert 0 < row['mAP'] <= 100
        assert ranks == sorted(ranks) and ranks[-1] <= 100
        # Of 12 queries, in percent and not rounded.
        for rank in ranks:
            hits = rank / 100 * 2 * IDS
            assert math.isclose(hits, round(hits), abs_tol=1e-4)
    last, final = rows(folder)[-2:]
    assert [last[k] for k in SCORES] == [final[k] for k in SCORES]
    assert any(row['mAP'] != round(row['mAP'], 1) for row in rows(folder))


def test_the_table_ends_the_run(adapted):
    folder, out = adapted
    table = out[out.index('stage            data set') :]
    for title in ('direct transfer', 'AdaBN', 'round 1', 'round 2', 'final'):
        (row,) = (r for r in table.splitlines() if r.startswith(title))
        assert 'dukemtmcreid' in row
    (final,) = rows(folder, 'final')
    line = table.splitlines()[6].split()
    wanted = [f'{final[k]:.1f}' for k in SCORES[:4]]
    assert line == ['final', 'dukemtmcreid', *wanted]


def test_settings_can_be_run_again(adapted, root):
    folder, _ = adapted
    cfg = get_default_config()
    merge_file(cfg, str(folder / 'config.yaml'))
    check_config(cfg)
    assert cfg.train.max_epoch == 5
    assert cfg.data.root == str(root)
    assert cfg.pseudo_labels.num_clusters == TINY['pseudo_labels.num_clusters']


def test_environment(adapted):
    folder, _ = adapted
    found = json.loads((folder / 'run.json').read_text())
    assert found['command'][0] == MAIN[0]
    assert found['versions']['torch'] == version('torch')
    assert found['seconds'] > 0
    assert found['threads'] == 1
    for domain in ('source', 'target'):
        assert len(found['digests'][domain]) == 64


def test_rounds(adapted):
    folder, _ = adapted
    lines = (folder / 'rounds.jsonl').read_text().splitlines()
    one, two = map(json.loads, lines)
    assert (one['round'], one['epoch']) == (1, 1)
    assert (two['round'], two['epoch']) == (2, 3)
    assert one['agreement'] is None
    assert -1 <= two['agreement'] <= 1
    for found in (one, two):
        assert found['num_clusters'] == 4
        assert found['left_out'] == 0
        assert 6 <= found['largest_cluster'] <= 24
        assert 0 < found['mean_weight'] <= 0.5  # Eq. 9


@pytest.mark.parametrize('number', (1, 2))
def test_pseudo_labels(number, adapted, root):
    folder, _ = adapted
    names = sorted(path.name for path in (folder / 'pseudo_labels').iterdir())
    assert names == ['round-1.npz', 'round-2.npz']
    with np.load(folder / 'pseudo_labels' / f'round-{number}.npz') as file:
        found = dict(file)
    train = root / DUKE / 'bounding_box_train'
    there = {p.relative_to(root).as_posix() for p in train.iterdir()}
    assert set(found['path']) == there
    assert len(found['path']) == 4 * IDS
    assert set(found['label']) <= set(range(4))
    assert ((found['weight'] > 0) & (found['weight'] <= 0.5)).all()
    assert found['centers'].shape == (4, 256)
    for path, camera in zip(found['path'], found['camera']):
        assert f'_c{camera + 1}_' in path


@pytest.mark.parametrize('name', ('last', 'selected'))
def test_checkpoints(name, adapted):
    folder, _ = adapted
    path = folder / 'checkpoints' / f'{name}.pth'
    state = torch.load(path, weights_only=True)
    torchreids = {'state_dict', 'epoch', 'rank1', 'optimizer', 'scheduler'}
    assert torchreids | {'model_name', 'model_kwargs', 'format'} <= set(state)
    assert state['model_name'] == 'resnet_tiny_daam'
    assert state['model_kwargs']['gate'] == 'sigmoid'
    assert state['format'] == FORMAT
    assert state['epoch'] == 5
    assert state['rank1'] == rows(folder, 'final')[0]['rank1'] / 100
    assert len(state['state_dict']['classifier_t.weight']) == 4
    assert len(state['state_dict']['classifier_s.weight']) == IDS


def test_log_and_events(adapted):
    folder, out = adapted
    (log,) = folder.glob('train.log-*')
    assert log.read_text() == out
    (events,) = folder.glob('events.out.tfevents.*')
    assert events.stat().st_size > 0
    for name in ('reid_s', 'reid_t', 'ds', 'dsp', 'orth'):
        assert f'{name} ' in out


def test_nothing_else_is_left(adapted):
    folder, _ = adapted
    names = {
        path.name.split('-')[0].split('.')[0]
        for path in folder.iterdir()
        if path.name != '.lock'
    }
    assert names == {
        *('results', 'config', 'run', 'rounds', 'pseudo_labels'),
        *('checkpoints', 'train', 'events'),
    }


@pytest.mark.parametrize('which', ('checkpoints/selected.pth', ''))
def test_evaluation_gives_the_final_row(which, adapted, adapt):
    """Of the file, and of the folder that stands for it."""
    folder, _ = adapted
    again = adapt(
        *('test.evaluate', True, 'model.load_weights', folder / which),
        *('train.batch_size', 99),  # no batch of the few images is made
    )
    assert scores(again, 'final') == scores(folder, 'final')
    assert not (again / 'checkpoints').exists()
    assert list(again.glob('test.log-*'))


def test_feature_extractor_gives_the_models_features(adapted, root):
    folder, _ = adapted
    path = folder / 'checkpoints' / 'selected.pth'
    extractor = torchreid.utils.FeatureExtractor(
        model_name='resnet_tiny_daam',
        model_path=str(path),
        image_size=(32, 16),
        device='cpu',
        verbose=False,
    )
    files = [str(p) for p in sorted((root / DUKE / 'query').iterdir())]
    features = extractor(files)
    assert features.shape == (2 * IDS, 256)
    images = [
        extractor.preprocess(torchreid.utils.read_image(file))
        for file in files
    ]
    for source in (path, folder):
        model = torchreid_daam.load_model(source)
        with torch.no_grad():
            assert torch.equal(model(torch.stack(images)), features)


def test_the_same_run_gives_the_same_bits(adapted, adapt):
    folder, _ = adapted
    again = adapt(*TWO_ROUNDS, 'train.seed', 3, 'data.workers', 1)
    one, two = folder / 'results.json', again / 'results.json'
    assert one.read_bytes() == two.read_bytes()
    assert_equal(weights(folder), weights(again))


def test_python_does_what_the_command_does(adapted, tmp_path):
    folder, _ = adapted
    cfg = get_default_config()
    merge_file(cfg, str(folder / 'config.yaml'))
    cfg.data.save_dir = str(tmp_path / 'python')
    before = cfg.dump()
    results = torchreid_daam.adapt(cfg)
    assert results == json.loads((folder / 'results.json').read_text())
    assert cfg.dump() == before


# Several domains, no rounds, no pretraining


@pytest.mark.slow
def test_several_sources_and_targets(adapt):
    folder = adapt(
        *('data.synthetic.pair', 'tiny'),
        sources=('market1501', 'synthetic_source'),
        targets=('dukemtmcreid', 'synthetic_target'),
    )
    names = ['dukemtmcreid', 'synthetic_target']
    for stage in ('direct', 'adabn', 'round', 'final'):
        assert [row['dataset'] for row in rows(folder, stage)] == names
    assert len(weights(folder)['classifier_s.weight']) == IDS + 12
    with np.load(folder / 'pseudo_labels' / 'round-1.npz') as file:
        tops = {path.split('/')[0] for path in file['path']}
    assert tops == {'dukemtmc-reid', 'synthetic'}


def test_without_rounds_it_is_direct_transfer(adapt, root):
    source = adapt('train.rounds', 0, name='source')
    assert stages(source) == [
        ('direct', 0, 1),
        ('adabn', 0, 1),
        ('final', 0, 1),
    ]
    assert scores(source, 'final') == scores(source, 'direct')
    # A single run can be perfect in both, which depends on the processor.
    runs = [source]
    for seed in (0, 3):
        found = adapt('train.rounds', 0, 'train.seed', seed, name=f's{seed}')
        runs.append(found)
    assert any(scores(r, 'adabn') != scores(r, 'direct') for r in runs)
    assert not (source / 'pseudo_labels').exists()
    # The source's statistics are kept: the file scores as direct transfer.
    selected = source / 'checkpoints' / 'selected.pth'
    load = ('model.load_weights', selected)
    test = adapt('test.evaluate', True, *load, name='test')
    assert scores(test, 'final') == scores(source, 'direct')
    both = ('train.pretrain_epoch', 0, 'train.rounds', 0)
    test = adapt(*both, *load, name='neither')
    assert scores(test, 'final') == scores(source, 'direct')
    # Pretraining that was loaded, and the same that ran here.
    loaded = adapt('train.pretrain_epoch', 0, *load, name='loaded')
    assert stages(loaded) == [
        ('direct', 0, 0),
        ('adabn', 0, 0),
        ('round', 1, 1),
        ('final', 1, 1),
    ]
    whole = adapt(name='whole')
    for stage in ('direct', 'adabn', 'final'):
        assert scores(loaded, stage) == scores(whole, stage)
    assert_equal(weights(loaded), weights(whole))


def test_without_adapt_bn(adapt):
    folder = adapt('adapt_bn', False)
    assert [s for s, *_ in stages(folder)] == ['direct', 'round', 'final']
    again = adapt(
        *('test.evaluate', True, 'model.load_weights', folder),
        name='again',
    )
    assert scores(again, 'final') == scores(folder, 'final')


def test_rounds_end_when_labels_agree(adapt):
    folder = adapt(
        *('train.rounds', 50, 'train.stop_agreement', 0.01),
        *('train.lr', 1e-6),
    )
    assert stages(folder) == [
        ('direct', 0, 1),
        ('adabn', 0, 1),
        ('round', 1, 2),
        ('final', 1, 2),
    ]
    assert scores(folder, 'final') == scores(folder, 'round')
    state = torch.load(folder / 'checkpoints/last.pth', weights_only=True)
    assert state['epoch'] == 2
    again = adapt(
        *('test.evaluate', True, 'model.load_weights', folder),
        name='again',
    )
    assert scores(again, 'final') == scores(folder, 'final')


@pytest.mark.parametrize('finished', (0, 1))
def test_resume(finished, adapt, tmp_path, monkeypatch):
    """From the checkpoint after pretraining, and after round 1."""
    write = RunFolder.write_checkpoint

    def write_and_keep(self, state):
        write(self, state)
        shutil.copy(
            self.path / 'checkpoints' / 'last.pth',
            tmp_path / f'epoch-{state["epoch"]}.pth',
        )

    monkeypatch.setattr(RunFolder, 'write_checkpoint', write_and_keep)
    whole = adapt(*TWO_ROUNDS, name='whole')
    monkeypatch.undo()
    path = tmp_path / f'epoch-{1 + 2 * finished}.pth'
    resumed = adapt(*TWO_ROUNDS, 'model.resume', path, name='resumed')
    assert rows(resumed) == rows(whole)
    assert_equal(weights(resumed), weights(whole))
    state = torch.load(resumed / 'checkpoints/last.pth', weights_only=True)
    assert state['epoch'] == 5


def test_a_finished_run_has_nothing_to_resume(adapt):
    folder = adapt()
    last = folder / 'checkpoints' / 'last.pth'
    before = last.read_bytes()
    again = adapt('model.resume', last, name='again')
    assert rows(again) == rows(folder)
    assert last.read_bytes() == before


def test_ranked_lists_and_reranking(adapted, adapt):
    folder, _ = adapted
    options = ('test.evaluate', True, 'model.load_weights', folder)
    plain = adapt(*options, 'test.visrank', True, 'test.visrank_topk', 3)
    assert scores(plain, 'final') == scores(folder, 'final')
    pictures = list((plain / 'visrank_dukemtmcreid').iterdir())
    assert len(pictures) == 2 * IDS
    ranked = adapt(*options, 'test.rerank', True, name='reranked')
    (log,) = ranked.glob('test.log-*')
    assert 'person re-ranking' in log.read_text()
    assert len(rows(ranked, 'final')) == 1


@pytest.mark.slow
def test_other_backbone_and_losses(adapt):
    folder = adapt(
        *('model.name', 'osnet_x0_25_daam', 'data.height', 64),
        *('data.width', 32, 'loss.daam.domain_loss', 'grl'),
        *('loss.daam.weight_orth', 0, 'model.daam.attention', 'independent'),
        *('pseudo_labels.weight_scale', 'relative'),
        *('pseudo_labels.head_init', 'centers'),
    )
    assert [s for s, *_ in stages(folder)][-1] == 'final'
    state = torch.load(folder / 'checkpoints/last.pth', weights_only=True)
    assert state['model_name'] == 'osnet_x0_25_daam'


# torchreid's stock engines


@pytest.mark.parametrize('loss', ('softmax', 'triplet'))
def test_stock_engines(loss, adapt):
    folder = adapt(
        *('loss.name', loss, 'train.max_epoch', 1, 'test.eval_freq', 1),
        *('loss.triplet.weight_x', 1),
        *('sampler.train_sampler', 'RandomIdentitySampler'),
        *('sampler.num_instances', 2),
        targets=('market1501', 'dukemtmcreid'),
        name='stock',
    )
    assert [(r['stage'], r['dataset']) for r in rows(folder)] == [
        ('supervised', 'market1501'),
        ('direct', 'dukemtmcreid'),
    ]
    # What torchreid saved is a model to adapt.
    path = folder / 'model' / 'model.pth.tar-1'
    loaded = adapt('train.pretrain_epoch', 0, 'model.load_weights', path)
    # Up to the last digit of a mean: nearly equal distances may change
    # places with the last bit of a feature.
    expected = pytest.approx(scores(folder, 'direct'), rel=1e-12)
    assert scores(loaded, 'direct') == expected
    assert torchreid_daam.load_model(path)(torch.zeros(1, 3, 32, 16)).any()


@pytest.mark.parametrize('name', ('resnet_tiny', 'resnet_tiny_daam'))
def test_stock_engine_goes_on(name, adapt):
    options = ('loss.name', 'softmax', 'model.name', name)
    half = adapt(*options, 'train.max_epoch', 1, name='half')
    path = half / 'model' / 'model.pth.tar-1'
    options += ('train.max_epoch', 2)
    whole = adapt(*options, 'model.resume', path, name='whole')
    assert (whole / 'model' / 'model.pth.tar-2').is_file()
    assert rows(whole)[0]['epoch'] == 2


# torchreid's configs/im_r50_softmax_256x128_amsgrad.yaml, settings as they
# are published; model.name, train.open_layers and no download are ours.
PUBLISHED = {
    'model': {'name': 'resnet50_daam', 'pretrained': False},
    'data': {
        'type': 'image',
        'sources': ['market1501'],
        'targets': ['market1501'],
        'height': 256,
        'width': 128,
        'combineall': False,
        'transforms': ['random_flip'],
        'save_dir': 'log/resnet50_market1501_softmax',
    },
    'loss': {'name': 'softmax', 'softmax': {'label_smooth': True}},
    'train': {
        'optim': 'amsgrad',
        'lr': 0.0003,
        'max_epoch': 60,
        'batch_size': 32,
        'fixbase_epoch': 5,
        'open_layers': ['classifier_s'],
        'lr_scheduler': 'single_step',
        'stepsize': [20],
    },
    'test': {
        'batch_size': 100,
        'dist_metric': 'euclidean',
        'normalize_feature': False,
        'evaluate': False,
        'eval_freq': 10,
        'rerank': False,
        'visactmap': False,
    },
}


@pytest.fixture
def published(tmp_path):
    path = tmp_path / 'im_r50_softmax_256x128_amsgrad.yaml'
    path.write_text(yaml.safe_dump(PUBLISHED))
    return path


def test_torchreids_yaml_is_accepted(published, root):
    cfg = get_default_config()
    merge_file(cfg, str(published))
    cfg.data.root = str(root)
    check_config(cfg)
    assert cfg.train.max_epoch == 60
    assert cfg.train.optim == 'amsgrad' and cfg.train.lr == 0.0003
    assert cfg.loss.name == 'softmax'
    assert cfg.model.name == 'resnet50_daam'


@pytest.mark.slow
@pytest.mark.parametrize('loss', ('softmax', 'triplet'))
def test_torchreids_yaml_trains(loss, published, root, tmp_path):
    args = [
        *('--config-file', published, '--root', root),
        *('loss.name', loss, 'loss.triplet.weight_x', 1),
        *('train.max_epoch', 1, 'train.batch_size', 8),
        *('data.height', 64, 'data.width', 32, 'data.workers', 0),
        *('data.save_dir', tmp_path / 'run'),
    ]
    assert adapt_main([str(arg) for arg in args]) == 0
    (row,) = rows(tmp_path / 'run')
    assert (row['stage'], row['dataset']) == ('supervised', 'market1501')

"""Each YAML file in projects/daam/configs."""

from pathlib import Path

import pytest
import yaml

from torchreid_daam import get_default_config, registry
from torchreid_daam.checks import check_config, derived_max_epoch
from torchreid_daam.config import check_values, flatten, merge_file

FOLDER = Path(__file__).resolve().parents[1] / 'projects/daam/configs'
PAIRS = ('market2duke', 'duke2market', 'market2msmt17')
TRAIN_IMAGES = {'market1501': 12936, 'dukemtmcreid': 16522, 'msmt17': 32621}
# The six departures: as this project has it, and as printed.
DEPARTURES = {
    'loss.daam.reduction': ('mean', 'sum'),
    'pseudo_labels.normalize': (True, False),
    'pseudo_labels.weight_scale': ('normalized', 'raw'),
    'model.daam.gate': ('sigmoid', 'literal'),
    'model.daam.attention_init': ('neutral', 'random'),
    'loss.daam.orth': ('cosine', 'paper'),
    'adapt_bn': (True, False),
}
# Whatever is not the paper's, switched off.
FAITHFUL = {
    'model.last_stride': 0,  # the network's own
    'model.daam.dsp_branch': True,
    'data.pretrain_transforms': [],
    'data.color_jitter': [],
    'sampler.train_sampler_t': 'RandomSampler',
    'pseudo_labels.method': 'kmeans',
    'pseudo_labels.center_cameras': False,
    'pseudo_labels.sample_weights': 'confidence',
    'loss.daam.weight_soft': 0,
    'train.forward': 'joint',
    'train.ema_decay': 0,
    'train.lr_scheduler': 'multi_step',
    'train.pretrain_lr_scheduler': 'same',
    'test.feature': 'embedding',
}
BUDGET = {
    'data.height',
    'train.rounds',
    'train.round_epoch',
    'train.lr',
    'train.stepsize',
    'train.pretrain_epoch',
    'train.pretrain_lr',
    'train.pretrain_stepsize',
}


def load(name):
    cfg = get_default_config()
    merge_file(cfg, str(FOLDER / f'{name}.yaml'))
    return cfg


def differences(one, other):
    one, other = flatten(load(one)), flatten(load(other))
    return {key for key in one if one[key] != other[key]}


def test_the_set_is_the_one_that_is_promised():
    kinds = ('paper', 'fast', 'plus')
    wanted = {f'{pair}-{kind}' for pair in PAIRS for kind in kinds}
    wanted |= {'letter', 'synthetic', 'synthetic-plus', 'synthetic-plus-long'}
    assert {path.stem for path in FOLDER.iterdir()} == wanted


@pytest.mark.parametrize(
    'path', sorted(FOLDER.glob('*.yaml')), ids=lambda path: path.stem
)
def test_every_file_is_accepted(path, tmp_path):
    cfg = load(path.stem)
    check_values(cfg)
    for name in {*cfg.data.sources, *cfg.data.targets}:
        folder = registry.dataset_folder(name)
        if folder is not None:
            (tmp_path / folder).mkdir(exist_ok=True)
    cfg.data.root = str(tmp_path)
    check_config(cfg)
    assert cfg.model.name in registry.model_names()
    # Where data lies is the user's business.
    given = flatten(yaml.safe_load(path.read_text(encoding='utf-8')))
    assert 'data.root' not in given or 'synthetic' in path.stem
    assert cfg.data.save_dir == f'log/{path.stem}'


@pytest.mark.parametrize('pair', PAIRS)
def test_paper_presets_hold_the_figures_of_section_5_2(pair):
    cfg = load(f'{pair}-paper')
    # "The parameters of ResNet-50 are pre-trained on ImageNet"
    assert cfg.model.name == 'resnet50_daam'
    assert cfg.model.pretrained is True
    # "all images are resized to 384 x 128"
    assert (cfg.data.height, cfg.data.width) == (384, 128)
    # "The stochastic gradient descent with a momentum of 0.9"
    assert cfg.train.optim == 'sgd'
    assert cfg.sgd.momentum == 0.9
    assert cfg.sgd.nesterov is False
    # "1e-3 at beginning, and decays to 1e-4 and 1e-5 after 20 epochs and
    # 120 epochs"
    assert cfg.train.lr == 1e-3
    assert cfg.train.lr_scheduler == 'multi_step'
    assert cfg.train.stepsize == [20, 120]
    assert cfg.train.gamma == 0.1
    # "The training at each iteration lasts for 200 epochs"
    assert cfg.train.round_epoch == 200
    # "The clusters K and Iterations at Alg. 1 are set 650 and 7 for both
    # Market-1501 and DukeMTMC-reID": not for MSMT17
    assert cfg.train.rounds == 7
    k = 0 if pair == 'market2msmt17' else 650
    assert cfg.pseudo_labels.num_clusters == k
    assert k or cfg.pseudo_labels.cluster_search == 'rule'
    # Section 3.2: a 2048 x 256 layer
    assert cfg.model.daam.embed_dim == 256
    # design.md: flip and crop, no colour jitter, no PK sampling
    assert cfg.data.transforms == ['random_flip', 'random_crop']
    assert cfg.sampler.train_sampler == 'RandomSampler'
    for name in ('reid_s', 'reid_t', 'ds', 'dsp', 'orth'):
        assert cfg.loss.daam[f'weight_{name}'] == 1
    for key, (ours, _) in DEPARTURES.items():
        assert flatten(cfg)[key] == ours, key


def test_letter_takes_all_six_departures_and_nothing_else():
    changed = differences('market2duke-paper', 'letter')
    assert changed == {*DEPARTURES, 'data.save_dir'}
    letter = flatten(load('letter'))
    for key, (_, printed) in DEPARTURES.items():
        assert letter[key] == printed, key


@pytest.mark.parametrize(
    'name',
    [f'{p}-{k}' for p in PAIRS for k in ('paper', 'fast')]
    + ['letter', 'synthetic'],
)
def test_nothing_of_the_modern_recipe_is_in_a_faithful_preset(name):
    cfg = flatten(load(name))
    assert {key: cfg[key] for key in FAITHFUL} == FAITHFUL
    assert not {'color_jitter', 'random_erase'} & set(cfg['data.transforms'])
    recipe = differences('synthetic', 'synthetic-plus')
    # The rest is budget, or read by nothing without DBSCAN.
    rest = {*BUDGET, 'pseudo_labels.eps', 'pseudo_labels.k1'}
    rest |= {'pseudo_labels.cluster_search', 'data.transforms'}
    assert recipe - rest - {'data.save_dir'} <= set(FAITHFUL)


@pytest.mark.parametrize('pair', PAIRS)
def test_fast_presets_scale_the_budget_alone(pair):
    changed = differences(f'{pair}-paper', f'{pair}-fast')
    assert changed <= {*BUDGET, 'data.save_dir'}
    paper, fast = load(f'{pair}-paper').train, load(f'{pair}-fast').train
    # Two tenfold drops at 10 % and 60 % of a round.
    for train in (paper, fast):
        assert [s / train.round_epoch for s in train.stepsize] == [0.1, 0.6]
    # Rate times epochs stays.
    assert fast.lr * fast.round_epoch == pytest.approx(
        paper.lr * paper.round_epoch
    )
    assert fast.pretrain_lr * fast.pretrain_epoch == pytest.approx(
        paper.pretrain_lr * paper.pretrain_epoch
    )


@pytest.mark.parametrize('kind', ('paper', 'fast'))
@pytest.mark.parametrize('pair', PAIRS)
def test_image_passes_in_the_comments_are_right(pair, kind):
    cfg = load(f'{pair}-{kind}')
    images = [TRAIN_IMAGES[n] for n in (*cfg.data.sources, *cfg.data.targets)]
    size = cfg.train.batch_size
    epoch = max(images) // size * 2 * size
    rounds = cfg.train.rounds * cfg.train.round_epoch * epoch / 1e6
    before = cfg.train.pretrain_epoch * (images[0] // size * size) / 1e6
    text = (FOLDER / f'{pair}-{kind}.yaml').read_text(encoding='utf-8')
    text = ' '.join(text.replace('\n#', '').split())
    assert f'{epoch:,}' in text
    if kind == 'paper':
        assert f'{rounds:.1f} million' in text
        assert f'{before:.1f} million' in text
    else:
        assert f'{rounds:.2f} million' in text
        assert f'together {rounds + before:.1f} million' in text
        assert 2 < rounds + before < 3.1


def test_paper_schedule_has_the_derived_length():
    assert derived_max_epoch(load('market2duke-paper')) == 60 + 7 * 200


def test_plus_sees_what_the_demo_sees_and_is_the_recipe():
    changed = differences('synthetic', 'synthetic-plus')
    assert changed == {
        *('data.save_dir', 'train.forward', 'train.lr', 'train.lr_scheduler'),
        *('train.stepsize', 'train.pretrain_lr_scheduler'),
        *('data.transforms', 'data.pretrain_transforms', 'data.color_jitter'),
        *('pseudo_labels.method', 'pseudo_labels.eps', 'pseudo_labels.k1'),
        *('pseudo_labels.sample_weights', 'model.daam.dsp_branch'),
        *('pseudo_labels.center_cameras', 'train.ema_decay'),
        *('train.rounds', 'train.round_epoch', 'test.feature'),
        'pseudo_labels.cluster_search',  # of no meaning for DBSCAN
    }
    longer = differences('synthetic-plus', 'synthetic-plus-long')
    assert longer == {'train.rounds', 'data.save_dir'}
    base, plus, long = (
        load(name).train.rounds * load(name).train.round_epoch
        for name in ('synthetic', 'synthetic-plus', 'synthetic-plus-long')
    )
    assert plus == base and long == 2 * base


@pytest.mark.parametrize('pair', PAIRS)
def test_plus_of_a_real_pair_has_the_budget_of_fast(pair):
    changed = differences(f'{pair}-fast', f'{pair}-plus')
    # Twice as many rounds of half the length.
    free = {'train.stepsize', 'train.rounds', 'train.round_epoch'}
    assert not changed & (BUDGET - free)
    fast, plus = load(f'{pair}-fast').train, load(f'{pair}-plus').train
    assert plus.rounds == 2 * fast.rounds
    assert 2 * plus.round_epoch == fast.round_epoch
    recipe = differences('synthetic', 'synthetic-plus')
    # The default k1 is SpCL's; rates are those of `fast`.
    k = {'pseudo_labels.num_clusters', 'pseudo_labels.cluster_search'}
    assert recipe - changed - k <= {'pseudo_labels.k1', 'train.lr'}
    # As published for the data, or without a meaning for DBSCAN.
    rest = {'model.last_stride', *k}
    assert changed - recipe <= rest

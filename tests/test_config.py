"""config: the tree, reading it, checking values, handing them on."""

import inspect

import pytest
import torchreid

from torchreid_daam import DAAM, DAAMLoss, ImageDAAMEngine
from torchreid_daam.config import (
    check_values,
    flatten,
    get_default_config,
    identity,
    kwargs,
    merge_file,
    merge_options,
    values,
)
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation import ranks
from torchreid_daam.guards import GuardedLabeller, StepGuard
from torchreid_daam.model import FEATURES
from torchreid_daam.optim import build_restart_scheduler, restart_factor
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.runs.history import CheckpointHistory

# The keys of torchreid's scripts/default_config.py and their types; video.*
# belongs to its video data sets, which this project does not train on.
TORCHREID = {
    str: """
        model.name model.load_weights model.resume data.type data.root
        data.save_dir sampler.train_sampler sampler.train_sampler_t
        train.optim train.lr_scheduler loss.name test.dist_metric
    """,
    int: """
        data.workers data.split_id data.height data.width data.k_tfm
        sampler.num_instances sampler.num_cams sampler.num_datasets
        train.max_epoch train.start_epoch train.batch_size
        train.fixbase_epoch train.print_freq train.seed test.batch_size
        test.eval_freq test.start_eval test.visrank_topk
    """,
    float: """
        train.lr train.weight_decay train.base_lr_mult train.gamma
        sgd.momentum sgd.dampening rmsprop.alpha adam.beta1 adam.beta2
        loss.triplet.margin loss.triplet.weight_t loss.triplet.weight_x
    """,
    bool: """
        model.pretrained data.combineall data.load_train_targets
        market1501.use_500k_distractors cuhk03.labeled_images
        cuhk03.classic_split cuhk03.use_metric_cuhk03 train.staged_lr
        sgd.nesterov loss.softmax.label_smooth test.normalize_feature
        test.evaluate test.rerank test.visrank use_gpu
    """,
    list: """
        data.sources data.targets data.transforms data.norm_mean
        data.norm_std train.open_layers train.new_layers train.stepsize
        test.ranks
    """,
}
# The design's own keys with their defaults.
OURS = {
    'model.daam.embed_dim': 256,
    'model.daam.reduction': 16,
    'model.daam.attention': 'residual',
    'model.daam.dsp_branch': True,
    'model.daam.gate': 'sigmoid',
    'model.daam.attention_init': 'neutral',
    'model.last_stride': 0,
    'model.backbone_weights': '',
    'loss.name': 'daam',
    'loss.daam.weight_reid_s': 1.0,
    'loss.daam.weight_reid_t': 1.0,
    'loss.daam.weight_ds': 1.0,
    'loss.daam.weight_dsp': 1.0,
    'loss.daam.weight_orth': 1.0,
    'loss.daam.reduction': 'mean',
    'loss.daam.orth': 'cosine',
    'loss.daam.domain_loss': 'occ',
    'pseudo_labels.method': 'kmeans',
    'pseudo_labels.num_clusters': 650,
    'pseudo_labels.normalize': True,
    'pseudo_labels.sample_weights': 'confidence',
    'pseudo_labels.weight_scale': 'normalized',
    'train.rounds': 7,
    'train.round_epoch': 200,
    'train.epoch_length': 'max',
    'train.stop_agreement': 0.0,
    'train.select': 'last',
    'train.max_epoch': 0,
    # Section 5.2: SGD, 1e-3, divided by 10 at epochs 20 and 120 of a round.
    'train.optim': 'sgd',
    'sgd.momentum': 0.9,
    'train.lr': 1e-3,
    'train.stepsize': [20, 120],
    'train.gamma': 0.1,
    'adapt_bn': True,
    'device': 'auto',
    'data.synthetic.seed': 0,
    'data.synthetic.pair': 'demo',
}


def option(key, text):
    cfg = get_default_config()
    merge_options(cfg, [key, text])
    return flatten(cfg)[key]


def from_yaml(tmp_path, text):
    path = tmp_path / 'settings.yaml'
    path.write_text(text)
    cfg = get_default_config()
    merge_file(cfg, str(path))
    return flatten(cfg)


def message(call, *args):
    with pytest.raises(InputError) as caught:
        call(*args)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


# The tree


@pytest.mark.parametrize('kind', TORCHREID)
def test_torchreids_keys(kind):
    flat = flatten(get_default_config())
    for key in TORCHREID[kind].split():
        assert type(flat[key]) is kind, key


def test_the_designs_keys():
    flat = flatten(get_default_config())
    assert {key: flat[key] for key in OURS} == OURS


def test_each_call_gives_a_tree_of_its_own():
    get_default_config().train.stepsize.append(7)
    assert get_default_config().train.stepsize == [20, 120]


def test_the_defaults_are_allowed():
    check_values(get_default_config())


def test_the_tables_name_keys_that_exist():
    flat = flatten(get_default_config())
    tables = (values.CHOICES, values.LOWEST, identity.RESUME_KEYS)
    for table in tables:
        assert set(table) <= set(flat)


def test_a_dumped_tree_reads_back(tmp_path):
    cfg = get_default_config()
    cfg.train.lr = 1e-5
    cfg.data.transforms = []
    assert from_yaml(tmp_path, cfg.dump()) == flatten(cfg)


# Reading


@pytest.mark.parametrize(
    ('key', 'text', 'wanted'),
    [
        ('train.lr', '1e-3', 0.001),
        ('train.lr', '1', 1.0),
        ('loss.daam.weight_ds', '0', 0.0),
        ('train.rounds', '3', 3),
        ('adapt_bn', 'False', False),
        ('model.name', 'osnet_x1_0_daam', 'osnet_x1_0_daam'),
        ('data.save_dir', '123', '123'),
        ('data.save_dir', '[a, b]', '[a, b]'),
        ('model.resume', '', ''),
        ('data.sources', 'market1501', ['market1501']),
        ('data.sources', "['a', 'b']", ['a', 'b']),
        ('train.stepsize', '30', [30]),
        ('train.stepsize', '[10, 20]', [10, 20]),
        ('train.stepsize', '10,20', [10, 20]),
        ('train.stepsize', '[]', []),
        ('data.norm_mean', '[0, 0.5, 1]', [0.0, 0.5, 1.0]),
    ],
)
def test_values_from_the_command_line(key, text, wanted):
    found = option(key, text)
    assert found == wanted and type(found) is type(wanted)
    if isinstance(wanted, list):
        assert [type(v) for v in found] == [type(v) for v in wanted]


@pytest.mark.parametrize(
    ('text', 'key', 'wanted'),
    [
        ('train: {lr: 1e-3}', 'train.lr', 0.001),  # YAML 1.1: a word
        ('train: {lr: 1.0e-3}', 'train.lr', 0.001),
        ('train: {lr: 1}', 'train.lr', 1.0),
        ('train: {stepsize: [5]}', 'train.stepsize', [5]),
        ('train: {stepsize: 5}', 'train.stepsize', [5]),
        ('data: {sources: a}', 'data.sources', ['a']),
        ('data: {norm_std: [1, 1, 2]}', 'data.norm_std', [1.0, 1.0, 2.0]),
        ('model: {pretrained: no}', 'model.pretrained', False),
        ('model: {resume: null}', 'model.resume', ''),
        ('data: {save_dir: 2024}', 'data.save_dir', '2024'),
        ('train.lr: 0.5', 'train.lr', 0.5),
    ],
)
def test_values_from_yaml(tmp_path, text, key, wanted):
    found = from_yaml(tmp_path, text)[key]
    assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize('text', ['', '# nothing\n', 'test: {visactmap: 1}'])
def test_files_without_settings_of_ours(tmp_path, text):
    assert from_yaml(tmp_path, text) == flatten(get_default_config())


@pytest.mark.parametrize(
    ('key', 'text', 'expected'),
    [
        ('train.lr', 'fast', 'a number'),
        ('train.lr', 'nan', 'a number'),
        ('train.lr', 'True', 'a number'),
        ('train.lr', '[1]', 'a number'),
        ('train.rounds', '1.5', 'a whole number'),
        ('train.rounds', 'auto', 'a whole number'),
        ('train.rounds', 'True', 'a whole number'),
        ('train.rounds', '1000.0', 'a whole number'),
        ('adapt_bn', '1', 'True or False'),
        ('adapt_bn', 'yes', 'True or False'),
    ],
)
def test_wrong_types(key, text, expected):
    assert message(option, key, text) == f'{key}={text}: {expected} expected'


@pytest.mark.parametrize(
    ('key', 'text'),
    [
        ('train.stepsize', '[1, 2.5]'),
        ('train.stepsize', '[True]'),
        ('train.stepsize', 'often'),
        ('data.sources', '[1]'),
        ('data.norm_mean', "[0.5, 'a', 1]"),
    ],
)
def test_wrong_elements(key, text):
    assert 'each element has to be like' in message(option, key, text)


def test_dictionaries_and_nan_from_yaml(tmp_path):
    text = message(from_yaml, tmp_path, 'train: {lr: .nan}')
    assert text == 'train.lr=nan: a number expected'
    text = message(from_yaml, tmp_path, 'train: {lr: {a: 1}}')
    assert text.startswith('train.lr.a: unknown setting')


def test_unknown_keys_get_a_hint(tmp_path):
    assert message(option, 'train.Ir', '1').endswith('did you mean train.lr?')
    text = message(option, 'nonsense', '1')
    assert text == 'nonsense: unknown setting in the command line'
    text = message(from_yaml, tmp_path, 'los: {name: daam}')
    assert 'settings.yaml; did you mean loss.name?' in text
    # A section is no setting.
    assert message(option, 'train', '1').startswith('train: unknown setting')


def test_a_key_without_a_value():
    cfg = get_default_config()
    text = message(merge_options, cfg, ['train.lr', '1', 'seed'])
    assert text.startswith('seed: settings come in pairs')


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'a: [1', 'not valid YAML'),
        (b'\xff\xfe\x00', 'not valid YAML'),
        (b'- a\n- b', 'holds no settings'),
        (b'!!python/object/apply:os.getcwd []', 'not valid YAML'),
    ],
)
def test_files_that_are_no_settings(tmp_path, content, expected):
    path = tmp_path / 'x.yaml'
    path.write_bytes(content)
    text = message(merge_file, get_default_config(), str(path))
    assert str(path) in text and expected in text


def test_a_missing_file(tmp_path):
    text = message(merge_file, get_default_config(), str(tmp_path / 'x'))
    assert text == f'--config-file={tmp_path / "x"}: No such file or directory'
    text = message(merge_file, get_default_config(), str(tmp_path))
    assert 'Is a directory' in text


# Values


def test_a_run_has_a_folder():
    cfg = get_default_config()
    cfg.data.save_dir = 'a\0b'
    with pytest.raises(InputError, match=r'data.save_dir=a\\0b: a folder'):
        check_values(cfg)
    cfg.data.save_dir = ''
    with pytest.raises(InputError, match='data.save_dir=: a folder'):
        check_values(cfg)


def test_choices_that_lie_above_the_settings():
    # config imports nothing of a higher level.
    assert values.CHOICES['test.evaluator'] == ranks.EVALUATORS
    assert values.CHOICES['test.feature'] == tuple(FEATURES)


@pytest.mark.parametrize('key', values.CHOICES)
def test_choices(key):
    cfg = get_default_config()
    for allowed in values.CHOICES[key]:
        merge_options(cfg, [key, str(allowed)])
        check_values(cfg)
    wrong = '7' if isinstance(values.CHOICES[key][0], int) else 'wrong'
    merge_options(cfg, [key, wrong])
    text = message(check_values, cfg)
    assert text.startswith(f'{key}={wrong}: allowed are ')


@pytest.mark.parametrize('key', values.LOWEST)
def test_lowest(key):
    cfg = get_default_config()
    merge_options(cfg, [key, str(values.LOWEST[key])])
    check_values(cfg)
    merge_options(cfg, [key, str(values.LOWEST[key] - 1)])
    assert message(check_values, cfg).startswith(f'{key}=')


@pytest.mark.parametrize(
    ('key', 'text'),
    [
        ('data.transforms', 'random_filp'),
        ('train.stop_agreement', '1.5'),
        ('train.epoch_length', 'min'),
        ('train.epoch_length', '0'),
        ('train.lr', '0'),
        ('sgd.momentum', '1'),
        ('adam.beta2', '-0.1'),
        ('data.norm_std', '[1, 0, 1]'),
        ('data.sources', '[]'),
        ('data.targets', '[]'),
        ('test.ranks', '[]'),
        ('test.ranks', '[1, 51]'),
        ('test.ranks', '0'),
        ('data.color_jitter', '[0.1, 0.1]'),
    ],
)
def test_other_bounds(key, text):
    cfg = get_default_config()
    merge_options(cfg, [key, text])
    assert message(check_values, cfg).startswith(f'{key}=')


@pytest.mark.parametrize(
    ('key', 'text'),
    [
        ('train.epoch_length', '40'),
        ('data.transforms', '[]'),
        ('data.transforms', 'Random_Flip'),  # torchreid lowers them too
        ('train.stop_agreement', '1'),
        ('test.ranks', '[1, 50]'),
    ],
)
def test_allowed_edges(key, text):
    cfg = get_default_config()
    merge_options(cfg, [key, text])
    check_values(cfg)


# Handing on


def parameters(*callables):
    return {
        name
        for call in callables
        for name in inspect.signature(call).parameters
    } - {'self', 'same', 'optimizer', 'epoch'}


@pytest.mark.parametrize(
    ('function', 'wanted'),
    [
        ('imagedata', parameters(torchreid.data.ImageDataManager)),
        (
            'optimizer',
            parameters(torchreid.optim.build_optimizer) - {'model'},
        ),
        (
            'engine_run',
            parameters(torchreid.engine.Engine.run),
        ),
        (
            'model',
            parameters(DAAM)
            - {'backbone_name', 'num_classes_s', 'num_clusters'}
            - {'loss', 'pretrained'},
        ),
        ('loss', parameters(DAAMLoss) - {'domain_head'}),
        ('labeller', parameters(KMeansLabeller)),
        (
            'engine',
            parameters(ImageDAAMEngine)
            - {'datamanager', 'model', 'scheduler', 'labeller', 'sampler'}
            - {'sampler_s', 'terms', 'averager', 'persistent_workers'}
            - {'forward'}
            - {'guard', 'observer', 'selector', 'folder', 'precision'},
        ),
        ('guard', parameters(StepGuard)),
        (
            'label_guard',
            parameters(GuardedLabeller) - {'labeller'},
        ),
        (
            'history',
            parameters(CheckpointHistory) - {'folder'},
        ),
        (
            'restart',
            parameters(build_restart_scheduler, restart_factor),
        ),
    ],
)
def test_every_argument_is_served(function, wanted):
    given = getattr(kwargs, f'{function}_kwargs')(get_default_config())
    assert set(given) == wanted


def test_the_schedulers_arguments():
    # single_step and cosine take no more than these.
    given = kwargs.lr_scheduler_kwargs(get_default_config())
    known = parameters(torchreid.optim.build_lr_scheduler)
    assert set(given) == {'lr_scheduler', 'stepsize', 'gamma', 'max_epoch'}
    assert set(given) <= known


def test_values_reach_their_argument():
    """Each key that is changed alone changes what it is meant to."""
    cfg = get_default_config()
    cfg.merge_from_list(
        ['train.batch_size', 5, 'test.batch_size', 6, 'adam.beta1', 0.25]
        + ['loss.daam.domain_loss', 'mmd', 'test.evaluate', True]
        + ['loss.daam.weight_orth', 0.5, 'model.daam.gate', 'literal']
    )
    assert kwargs.imagedata_kwargs(cfg)['batch_size_train'] == 5
    assert kwargs.imagedata_kwargs(cfg)['batch_size_test'] == 6
    assert kwargs.optimizer_kwargs(cfg)['adam_beta1'] == 0.25
    assert kwargs.engine_run_kwargs(cfg)['test_only'] is True
    assert kwargs.loss_kwargs(cfg)['weight_orth'] == 0.5
    assert kwargs.model_kwargs(cfg)['gate'] == 'literal'
    # mmd and none compare features; no head is needed for them.
    assert kwargs.model_kwargs(cfg)['nominal_head'] is False
    for name in ('occ', 'grl'):
        cfg.loss.daam.domain_loss = name
        assert kwargs.model_kwargs(cfg)['nominal_head'] is True


def test_each_default_has_a_comment(repo):
    """docs/config.md is made of them."""
    tree = repo / 'torchreid_daam' / 'config' / 'tree.py'
    text = tree.read_text(encoding='utf-8')
    for line in text.splitlines():
        if line.startswith('    cfg.') and ' = ' in line:
            if 'CN()' in line or line.endswith('['):
                continue
            assert '  # ' in line, line

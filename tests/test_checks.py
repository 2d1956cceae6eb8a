"""What bad input gets: one line that names key, value and what is allowed."""

import shutil
import socket

import pytest
import torch

import torchreid_daam
from command import arguments
from layouts import DUKE, MARKET, market_name, write_duke, write_market
from torchreid_daam.cli import adapt_main
from torchreid_daam.resnet_tiny import resnet_tiny

WEB_PAGE = '<!DOCTYPE html>\n<html><body>404</body></html>\n'
TRAIN = 'bounding_box_train'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Market-1501 and DukeMTMC-reID, 16 training images each; not changed."""
    root = tmp_path_factory.mktemp('data')
    write_market(root)
    write_duke(root)
    return root


@pytest.fixture
def both(market_root, duke_root):
    """The same for a test that changes it."""
    return market_root


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """No network: collects the names that somebody tried to reach."""
    wanted = []

    def getaddrinfo(host, *_, **__):
        wanted.append(host)
        raise socket.gaierror(socket.EAI_NONAME, 'no network in this test')

    monkeypatch.setattr(socket, 'getaddrinfo', getaddrinfo)
    return wanted


@pytest.fixture
def refused(capsys, tmp_path):
    """Runs the command, checks how it refuses, returns its one line."""

    def refuse(root, *rest, **where):
        where.setdefault('save_dir', tmp_path / 'refused')
        code = adapt_main(arguments(root, *rest, **where))
        out, err = capsys.readouterr()
        assert code == 2, out + err
        assert 'Traceback' not in out + err
        assert err.startswith('error: ') and err.endswith('\n')
        assert err.count('\n') == 1, err
        return err

    return refuse


# Settings -> what the line has to name.
WRONG = {
    'unknown key': ('train.lrr 0.1', 'train.lrr', 'mean train.lr?'),
    'unknown section': ('optim.lr 0.1', 'optim.lr: unknown setting'),
    'section instead of a key': ('train 5', 'train: unknown setting'),
    'key without value': ('train.lr', 'train.lr', 'the last one has no value'),
    'word for a number': ('train.lr fast', 'train.lr=fast', 'a number'),
    'word for an int': ('train.rounds two', 'train.rounds=two', 'whole'),
    'float for an int': ('train.rounds 1.5', 'train.rounds=1.5', 'whole'),
    'number for a bool': ('adapt_bn 1', 'adapt_bn=1', 'True or False'),
    'nan': ('train.lr nan', 'train.lr=nan', 'a number expected'),
    'list of words': ('train.stepsize a', 'train.stepsize', 'like 20'),
    'model': ('model.name resnet50_damm', '=resnet50_damm', 'resnet50_daam'),
    'model without DAAM': (
        'model.name resnet50',
        '=resnet50',
        'resnet50_daam',
    ),
    'source': ('data.sources market1502', '=market1502', 'market1501'),
    'target': ('data.targets dukemtmc', '=dukemtmc', 'dukemtmcreid'),
    'augmentation': ('data.transforms flip', '=flip', 'random_flip'),
    'optimiser': ('train.optim sdg', 'train.optim=sdg', 'sgd, adam'),
    'schedule': ('train.lr_scheduler poly', '=poly', 'multi_step'),
    'loss': ('loss.name dam', 'loss.name=dam', 'daam, softmax, triplet'),
    'gate': ('model.daam.gate tanh', 'gate=tanh', 'sigmoid', 'literal'),
    'attention': ('model.daam.attention x', 'attention=x', 'residual'),
    'domain loss': ('loss.daam.domain_loss gan', '=gan', 'occ, grl, mmd'),
    'reduction': ('loss.daam.reduction avg', '=avg', 'mean, sum'),
    'method': ('pseudo_labels.method means', '=means', 'kmeans, minibatch'),
    'selection': ('train.select best', 'train.select=best', 'last, health'),
    'device': ('device tpu', 'device=tpu', 'auto, cpu'),
    'epoch length': ('train.epoch_length 0', 'train.epoch_length=0', 'max'),
    'metric': ('test.dist_metric l1', '=l1', 'euclidean, cosine'),
    'video': ('data.type video', 'data.type=video', 'image'),
    'layer that opens': (
        'train.fixbase_epoch 1 train.open_layers classifier',
        'train.open_layers=classifier',
        'classifier_s',
    ),
    'new layer': (
        "train.staged_lr True train.new_layers ['branch_dsh','branch']",
        'train.new_layers=branch:',
        'branch_dsh',
    ),
    'rounds': ('train.rounds -1', 'train.rounds=-1', 'at least 0'),
    'pretraining': ('train.pretrain_epoch -1', 'pretrain_epoch=-1', 'least 0'),
    'round_epoch': ('train.round_epoch 0', 'round_epoch=0', 'at least 1'),
    'no pretraining, no weights': (
        'train.pretrain_epoch 0',
        'train.pretrain_epoch=0',
        'model.load_weights',
    ),
    'nothing at all': (
        'train.pretrain_epoch 0 train.rounds 0',
        'train.pretrain_epoch=0',
        'model.load_weights',
    ),
    'test without weights': (
        'test.evaluate True',
        'test.evaluate=True',
        'model.load_weights',
    ),
    'max_epoch': ('train.max_epoch 60', 'max_epoch=60', '= 2;'),
    'stock max_epoch': ('loss.name softmax', 'train.max_epoch=0', 'softmax'),
    'stock start_epoch': (
        'loss.name softmax train.max_epoch 2 train.start_epoch 5',
        'train.start_epoch=5',
        'less than train.max_epoch=2',
    ),
    'a source that is none': (
        'data.sources no_source',
        'no_source',
        'data.sources []',
    ),
    'half precision on a CPU': (
        'device cpu train.precision fp16',
        'train.precision=fp16',
        'fp32, bf16',
    ),
    'a kernel that is not there': (
        'train.fused on train.optim rmsprop',
        'train.fused=on',
        'sgd, adam',
    ),
    'half precision of a stock engine': (
        'loss.name softmax train.max_epoch 1 train.precision bf16',
        'train.precision=bf16',
        'daam only',
    ),
    'compiling for a stock engine': (
        'loss.name softmax train.max_epoch 1 train.compile True',
        'train.compile=True',
        'daam only',
    ),
    'k_tfm': ('data.k_tfm 2', 'data.k_tfm=2', 'is 1'),
    'random_patch': (
        'data.transforms random_patch',
        'data.transforms=random_patch',
        'daam',
    ),
    'target sampler': (
        'sampler.train_sampler_t RandomIdentitySampler',
        'train_sampler_t=RandomIdentitySampler',
        'is RandomSampler',
    ),
    'random_patch in pretraining': (
        'data.pretrain_transforms random_patch',
        'data.pretrain_transforms=random_patch',
        'daam',
    ),
    'augmentation of pretraining': (
        'data.pretrain_transforms flip',
        'data.pretrain_transforms=flip',
        'random_flip',
    ),
    'jitter of three': (
        'data.color_jitter [.2,.2,.2]',
        'data.color_jitter=[0.2, 0.2, 0.2]',
        'four numbers',
    ),
    'jitter of words': ('data.color_jitter strong', 'strong', 'four numbers'),
    'jitter of hue': ('data.color_jitter [0,0,0,1]', '[0, 0, 0, 1]', '0.5'),
    'jitter that nobody asked for': (
        'data.color_jitter [.1,.1,.1,0]',
        'data.color_jitter=',
        'has no effect',
    ),
    'stages of a stock engine': (
        'loss.name softmax train.max_epoch 1 '
        'data.pretrain_transforms random_flip',
        'pretrain_transforms',
        'daam only',
    ),
    'soft targets of nobody': (
        'loss.daam.weight_soft 1',
        'weight_soft=1.0',
        'train.ema_decay',
    ),
    'decay': ('train.ema_decay 1', 'train.ema_decay=1', 'less than 1'),
    'feature of a head': (
        'test.feature pre_relu pseudo_labels.head_init centers',
        'test.feature=pre_relu',
        'head_init random',
    ),
    'feature of a plain model': (
        'loss.name softmax train.max_epoch 1 model.name resnet18 '
        'test.feature pre_relu',
        'test.feature=pre_relu',
        'resnet18',
    ),
    'PK batch': (
        'sampler.train_sampler_t PseudoIdentitySampler '
        'sampler.num_instances 3',
        'num_instances=3',
        'batch_size=4',
    ),
    'PK with a stock engine': (
        'loss.name softmax train.max_epoch 1 '
        'sampler.train_sampler_t PseudoIdentitySampler',
        'train_sampler_t=PseudoIdentitySampler',
        'daam only',
    ),
    'averaged weights of a stock engine': (
        'loss.name softmax train.max_epoch 1 train.ema_decay 0.9',
        'train.ema_decay=0.9',
        '0.0 expected',
    ),
    'cameras of a stock engine': (
        'loss.name softmax train.max_epoch 1 '
        'pseudo_labels.center_cameras True',
        'pseudo_labels.center_cameras=True',
        'False expected',
    ),
    'soft targets beside sums': (
        'train.ema_decay 0.9 loss.daam.weight_soft 0.5 '
        'loss.daam.reduction sum',
        'loss.daam.weight_soft=0.5',
        'mean expected',
    ),
    'lengths with dbscan': (
        'pseudo_labels.method dbscan pseudo_labels.normalize False',
        'pseudo_labels.normalize=False',
        'True expected',
    ),
    'eps of nothing': ('pseudo_labels.eps 0', 'eps=0', 'more than 0'),
    'eps of all': ('pseudo_labels.eps 1.0', 'eps=1.0', 'less than 1'),
    'K': (
        'pseudo_labels.num_clusters 17',
        'pseudo_labels.num_clusters=17',
        'the 16 target images',
    ),
    'negative K': ('pseudo_labels.num_clusters -1', '=-1', 'at least 0'),
    'batch': ('train.batch_size 17', 'train.batch_size=17', 'has 16'),
    'batch of one': ('train.batch_size 1', 'batch_size=1', 'at least 2'),
    'rate of 0': ('train.lr 0', 'train.lr=0', 'more than 0'),
    'momentum': ('sgd.momentum 1', 'sgd.momentum=1', 'less than 1'),
    'Nesterov': (
        'sgd.nesterov True sgd.momentum 0',
        'sgd.nesterov=True',
        'sgd.momentum',
    ),
    'weight': ('loss.daam.weight_ds -1', 'weight_ds=-1', 'at least 0'),
    'agreement': ('train.stop_agreement 2', 'agreement=2', '0 (off) to 1'),
    'milestones': ('train.stepsize [3,1]', 'stepsize=[3, 1]', 'rising'),
    'single step': (
        'train.lr_scheduler single_step train.stepsize []',
        'train.stepsize=[]',
        'single_step',
    ),
    'norm_std': ('data.norm_std [1,1]', 'norm_std=[1.0, 1.0]', 'three'),
    'division by 0': ('data.norm_std [1,1,0]', 'data.norm_std', 'than 0'),
    'ranks': ('test.ranks [0]', 'test.ranks=[0]', '1 to 50'),
    'visrank': ('test.visrank True', 'test.visrank=True', 'test.evaluate'),
    'rerank': ('test.rerank True', 'test.rerank=True', 'test.evaluate'),
    'instances': (
        'sampler.train_sampler RandomIdentitySampler sampler.num_instances 9',
        'num_instances=9',
        'batch_size=4',
    ),
    'cameras': (
        'sampler.train_sampler RandomDomainSampler sampler.num_cams 9',
        'market1501',
        'sampler',
    ),
    'last stride': (
        'model.name osnet_x0_25_daam model.last_stride 1',
        'model.last_stride=1',
        'osnet_x0_25',
    ),
}


def test_compiling_needs_a_compiler(root, refused, monkeypatch):
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv('CXX', raising=False)
    line = refused(root, 'train.compile', 'True')
    assert 'train.compile=True' in line and 'g++' in line


@pytest.mark.parametrize('case', WRONG)
def test_wrong_settings(case, root, tmp_path, refused, network):
    settings, *parts = WRONG[case]
    line = refused(root, *settings.split())
    for part in parts:
        assert part in line
    assert network == []
    left = {path.name for path in (tmp_path / 'refused').glob('*')}
    left.discard('.lock')  # removing it would be a race
    assert all('.log-' in name for name in left), left


@pytest.mark.skipif(torch.cuda.is_available(), reason='has the device')
def test_device_that_is_not_there(root, refused):
    assert 'device=cuda: not available' in refused(root, 'device', 'cuda')


def test_source_and_target_may_not_overlap(root, refused):
    names = ('dukemtmcreid', 'market1501')
    line = refused(root, targets=names)
    assert 'data.targets=market1501: also in data.sources' in line


def test_stock_engines_may_train_on_their_target(root, tmp_path):
    settings = {'loss.name': 'softmax', 'train.max_epoch': 1}
    pairs = [str(part) for pair in settings.items() for part in pair]
    same = {'targets': ('market1501',), 'save_dir': tmp_path / 'run'}
    assert adapt_main(arguments(root, *pairs, **same)) == 0


@pytest.mark.parametrize('name', ('market1501', 'dukemtmcreid', 'msmt17'))
@pytest.mark.parametrize('key', ('sources', 'targets'))
def test_data_set_that_is_not_there(key, name, tmp_path, refused, network):
    folders = {
        'market1501': 'market1501',
        'dukemtmcreid': 'dukemtmc-reid',
        'msmt17': 'msmt17',
    }
    missing = tmp_path / folders.pop(name)
    for folder in folders.values():
        (tmp_path / folder).mkdir()
    other = {'sources': (next(iter(folders)),), 'targets': tuple(folders)[1:]}
    line = refused(tmp_path, **{**other, key: (name,)})
    assert f'data.{key}={name}: no folder {missing}' in line
    assert 'data.root' in line
    assert network == []
    assert not missing.exists(), 'a download was begun'


def test_root_that_is_not_there(tmp_path, refused, network):
    line = refused(tmp_path / 'nowhere')
    assert 'data.sources=market1501: no folder' in line
    assert network == []
    assert not (tmp_path / 'nowhere').exists()


def test_folder_without_its_parts(both, refused, network):
    shutil.rmtree(both / DUKE / 'query')
    line = refused(both)
    assert 'dukemtmcreid' in line and 'query" is not found' in line
    assert network == []


@pytest.mark.parametrize('part', (TRAIN, 'query', 'bounding_box_test'))
def test_empty_folder(part, both, refused):
    for path in (both / DUKE / part).iterdir():
        path.unlink()
    line = refused(both)
    assert 'data.targets=dukemtmcreid' in line
    assert 'empty' in line


def test_empty_source(both, refused):
    for path in (both / MARKET / TRAIN).iterdir():
        path.unlink()
    assert 'data.sources=market1501' in refused(both)


def test_strange_file_names(both, refused):
    folder = both / MARKET / TRAIN
    (folder / market_name(1, 1, 1)).rename(folder / 'holiday.jpg')
    assert 'market1501' in refused(both)
    (folder / 'holiday.jpg').rename(folder / market_name(1, 9, 1))
    assert 'market1501' in refused(both)


def test_fewer_target_images_than_a_batch(tmp_path, refused):
    write_market(tmp_path)
    write_duke(tmp_path, ids=2)
    line = refused(tmp_path, 'train.batch_size', 9)
    assert 'train.batch_size=9' in line
    assert 'data.targets=dukemtmcreid has 8 training images' in line


def test_root_that_looks_like_an_image(tmp_path, refused):
    root = tmp_path / 'exp7_c2'
    write_market(root)
    write_duke(root)
    line = refused(root)
    assert f'data.root={root}' in line
    assert 'rename' in line


# Weights


def spoilt(tmp_path, kind):
    path = tmp_path / f'{kind.replace(" ", "-")}.pt'
    if kind == 'web page':
        path.write_text(WEB_PAGE)
    elif kind == 'cut':
        whole = tmp_path / 'whole.pt'
        torch.save({'a': torch.zeros(1000)}, whole)
        path.write_bytes(whole.read_bytes()[:500])
    elif kind == 'picture':
        path.write_bytes(b'\xff\xd8\xff\xe0' + bytes(100))
    elif kind == 'empty':
        path.touch()
    elif kind == 'no weights':
        torch.save([1, 2], path)
    elif kind == 'code':
        torch.save({'state_dict': {'a': shutil.rmtree}}, path)
    return path


KEYS = ('model.load_weights', 'model.resume', 'model.backbone_weights')
KINDS = 'missing', 'web page', 'cut', 'picture', 'empty', 'no weights', 'code'


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('key', KEYS)
def test_weights_that_can_not_be_read(key, kind, root, tmp_path, refused):
    path = spoilt(tmp_path, kind)
    line = refused(root, key, path)
    assert f'{key}={path}' in line
    if kind == 'missing':
        assert 'no such file' in line
    if kind == 'web page':
        assert 'web page' in line


def saved(path, **options):
    model = torchreid_daam.build_daam(
        'resnet_tiny', 4, 4, pretrained=False, **options
    )
    torch.save({'state_dict': model.state_dict()}, path)
    return path


@pytest.mark.parametrize(
    'field, value',
    [
        ('embed_dim', 128),
        ('reduction', 8),
        ('attention', 'independent'),
        ('gate', 'literal'),
        ('dsp_branch', False),
        ('last_stride', 1),
    ],
)
def test_weights_of_another_architecture(
    field, value, root, tmp_path, refused
):
    path = saved(tmp_path / 'other.pt', **{field: value})
    line = refused(root, 'model.load_weights', path)
    assert f'model.load_weights={path}' in line
    assert f'{field}={value!r} in the file' in line


def test_weights_of_another_backbone(root, tmp_path, refused):
    path = saved(tmp_path / 'tiny.pt')
    name = ('model.name', 'osnet_x0_25_daam')
    line = refused(root, *name, 'model.load_weights', path)
    assert "backbone='resnet_tiny' in the file" in line


@pytest.mark.parametrize('epochs', (0, 1))
def test_plain_weights_are_no_model(epochs, root, tmp_path, refused):
    path = tmp_path / 'plain.pt'
    torch.save(resnet_tiny(5).state_dict(), path)
    line = refused(
        *(root, 'model.load_weights', path, 'train.pretrain_epoch', epochs)
    )
    assert f'model.load_weights={path}' in line
    assert 'model.backbone_weights' in line


def test_backbone_weights_need_pretraining(root, tmp_path, refused):
    path = tmp_path / 'plain.pt'
    torch.save(resnet_tiny(5).state_dict(), path)
    line = refused(
        *(root, 'model.backbone_weights', path, 'train.pretrain_epoch', 0)
    )
    assert f'model.backbone_weights={path}' in line
    assert 'train.pretrain_epoch > 0' in line


def test_backbone_weights_of_another_backbone(root, tmp_path, refused):
    path = tmp_path / 'plain.pt'
    state = resnet_tiny(5).state_dict()
    del state['layer3.0.conv1.weight']
    torch.save(state, path)
    line = refused(root, 'model.backbone_weights', path)
    assert f'model.backbone_weights={path}' in line
    assert 'layer3.0.conv1.weight' in line


def test_a_whole_model_is_no_backbone(root, tmp_path, refused):
    path = saved(tmp_path / 'whole.pt')
    line = refused(root, 'model.backbone_weights', path)
    assert f'{path}: holds a whole DAAM model' in line
    assert 'model.load_weights' in line


def test_resume_from_a_file_of_weights_alone(root, tmp_path, refused):
    path = saved(tmp_path / 'weights.pt')
    line = refused(root, 'model.resume', path)
    assert f'model.resume={path}' in line


def test_resume_from_another_architecture(root, tmp_path, refused):
    path = saved(tmp_path / 'weights.pt', gate='literal')
    line = refused(root, 'model.resume', path)
    assert f'model.resume={path}' in line


@pytest.mark.parametrize('name', ('resnet18', 'osnet_x0_25'))
def test_imagenet_weights_without_network(
    name, root, tmp_path, refused, network, monkeypatch
):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    args = ('model.name', f'{name}_daam', 'model.pretrained', True)
    line = refused(root, *args)
    assert f'ImageNet weights of {name}' in line
    assert 'model.backbone_weights' in line
    assert f'put the file at {tmp_path / "torch"}' in line
    assert network, 'nothing was asked for'


@pytest.mark.parametrize('content', (WEB_PAGE, 'foreign'))
def test_imagenet_weights_that_are_none(
    content, root, tmp_path, refused, network, monkeypatch
):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    path = tmp_path / 'torch/hub/checkpoints/resnet18-5c106cde.pth'
    path.parent.mkdir(parents=True)
    if content == 'foreign':
        torch.save({'a': torch.zeros(1)}, path)
    else:
        path.write_text(content)
    args = ('model.name', 'resnet18_daam', 'model.pretrained', True)
    line = refused(root, *args)
    assert str(path) in line
    assert network == []


# Images


def cut(folder, turn=0):
    path = sorted(folder.glob('*.jpg'))[turn]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return path


PLACES = {
    'source': f'{MARKET}/{TRAIN}',
    'target': f'{DUKE}/{TRAIN}',
    'query': f'{DUKE}/query',
    'gallery': f'{DUKE}/bounding_box_test',
}


@pytest.mark.parametrize('workers', (0, 2))
@pytest.mark.parametrize('place', ('source', 'target', 'query'))
def test_image_that_can_not_be_decoded(place, workers, both, refused):
    path = cut(both / PLACES[place])
    args = ('train.batch_size', 16, 'data.workers', workers)
    line = refused(both, *args)
    assert f'error: {path}: not a readable image' in line
    assert 'replace or remove them' in line


@pytest.mark.parametrize('workers', (0, 2))
@pytest.mark.parametrize('place', ('source', 'query', 'gallery'))
def test_image_that_stock_engines_can_not_decode(
    place, workers, both, refused
):
    path = cut(both / PLACES[place])
    args = 'loss.name', 'softmax', 'train.max_epoch', 1, 'data.workers'
    line = refused(both, *args, workers, 'train.batch_size', 16)
    assert f'error: {path}: not a readable image' in line


def test_text_instead_of_an_image(both, refused):
    path = cut(both / PLACES['target'], 3)
    path.write_text(WEB_PAGE)
    assert f'error: {path}: not a readable image' in refused(both)


def test_link_that_leads_nowhere(both, refused):
    path = sorted((both / PLACES['target']).iterdir())[0]
    path.unlink()
    path.symlink_to(both / 'gone.jpg')
    assert str(path) in refused(both)

"""backbones.py: which are wrapped, and whose weights they get."""

import gc
import http.client
import pathlib
import sys
import urllib.error
import urllib.request

import gdown
import numpy as np
import pytest
import torch
import torchreid
import torchvision

from torchreid_daam import build_daam
from torchreid_daam.backbones import build_backbone, wrappable
from torchreid_daam.delivery.figures import attention_overlays
from torchreid_daam.delivery.looking import attention_weights
from torchreid_daam.errors import InputError
from torchreid_daam.registry import model_names
from torchreid_daam.runs.checkpoint import save_checkpoint

BARE = [
    name.removesuffix('_daam')
    for name in model_names()
    if name.endswith('_daam')
]
# name: channels of the map, height and width of it from 64 x 32.
MAPS = {
    'resnet_tiny': (128, 8, 4),
    'resnet18': (512, 2, 1),
    'osnet_x0_25': (128, 4, 2),
    'mobilenetv2_x1_0': (1280, 2, 1),
    'shufflenet_v2_x0_5': (1024, 2, 1),
}
# Smaller images leave nothing of their maps.
LARGER = {'inceptionresnetv2': (160, 96), 'mudeep': (256, 128)}


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No cache but this one, and no network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def no_network(*_, **__):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr(urllib.request, 'urlopen', no_network)
    monkeypatch.setattr(torch.hub, 'urlopen', no_network)
    monkeypatch.setattr(http.client.HTTPConnection, 'connect', no_network)
    return tmp_path


@pytest.fixture(scope='module')
def imagenet():
    """What torchvision's resnet18 file holds, drawn instead of trained."""
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).state_dict()


def hub(home, name, state):
    path = home / 'hub' / 'checkpoints' / name
    save_checkpoint(path, state)
    return path


def refusal(*args, **options):
    with pytest.raises(InputError) as caught:
        build_backbone(*args, **options)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


# Which


def test_which_are_wrapped():
    assert len(BARE) == 36 and 'resnet_tiny' in BARE
    # Three maps; one of its own kind; features without a map.
    for name in ('resnet50mid', 'hacnn', 'mlfn', 'densenet121'):
        assert name in model_names() and name not in BARE
    for name in ('resnet50', 'osnet_ain_x1_0', 'pcb_p6', 'se_resnet101'):
        assert name in BARE


def test_a_builder_without_a_known_module_is_passed_over():
    def builder():
        pass

    builder.__module__ = 'gone'
    assert wrappable({'x': builder}) == []


@pytest.mark.parametrize('name', MAPS)
def test_maps(name):
    backbone, channels = build_backbone(name, pretrained=False)
    wanted_channels, *size = MAPS[name]
    assert channels == wanted_channels
    f = backbone.eval().featuremaps(torch.zeros(2, 3, 64, 32))
    assert list(f.shape) == [2, channels, *size]
    model = build_daam(name, 2, 2, pretrained=False)
    assert model(torch.randn(2, 3, 64, 32)).feat_dsp.shape == (2, 256)
    assert model.eval()(torch.randn(2, 3, 64, 32)).shape == (2, 256)


@pytest.mark.slow
@pytest.mark.parametrize('name', BARE)
def test_every_registered_model(name):
    """Built as torchreid builds it, one at a time."""
    model = torchreid.models.build_model(
        f'{name}_daam', 2, loss='softmax', pretrained=False, use_gpu=False
    )
    x = torch.randn(1, 3, *LARGER.get(name, (64, 32)))
    with torch.no_grad():
        assert model.eval()(x).shape == (1, 256)
    # The report draws A on the image, whatever the backbone is.
    weights = attention_weights(model, [x[0]])
    total = weights['DSH'] + weights['DSP']
    np.testing.assert_allclose(total, 1, atol=1e-6)
    drawn = attention_overlays([np.zeros((64, 32, 3))], weights, [''])
    assert len(drawn.axes) == 5  # image, two maps, two bars
    # What featuremaps does not use is gone: no backbone of two trunks stays.
    children = dict(model.backbone.named_children())
    assert not {'classifier', 'fc', 'last_linear'} & set(children)
    del model
    gc.collect()


def test_building_keeps_the_mode_and_leaves_no_hook():
    backbone, _ = build_backbone('resnet_tiny')
    assert all(module.training for module in backbone.modules())
    assert not any(m._forward_hooks for m in backbone.modules())


def test_the_probe_moves_no_statistics():
    backbone, _ = build_backbone('resnet_tiny')
    for name, buffer in backbone.named_buffers():
        wanted = 1 if name.endswith('running_var') else 0
        assert (buffer == wanted).all(), name


# Stride


def test_last_stride():
    x = torch.zeros(1, 3, 64, 32)
    for name in ('resnet18', 'resnet_tiny'):
        plain, _ = build_backbone(name, False)
        wider, _ = build_backbone(name, False, last_stride=1)
        factor = 1 if name == 'resnet_tiny' else 2
        height, width = plain.featuremaps(x).shape[2:]
        wanted = (height * factor, width * factor)
        assert wider.featuremaps(x).shape[2:] == wanted
        shapes = [
            {n: p.shape for n, p in b.named_parameters()}
            for b in (plain, wider)
        ]
        assert shapes[0] == shapes[1]


def test_last_stride_of_others():
    text = refusal('osnet_x0_25', False, last_stride=1)
    assert text.startswith('model.last_stride=1: osnet_x0_25 has no last')


# Weights from a file


def test_torchvisions_file(tmp_path, imagenet):
    save_checkpoint(tmp_path / 'x.pth', imagenet)
    backbone, _ = build_backbone('resnet18', weights=str(tmp_path / 'x.pth'))
    found = backbone.state_dict()
    assert len(found) == len(imagenet) - 2  # its classifier
    for name, value in found.items():
        assert torch.equal(value, imagenet[name]), name


def test_torchreids_file(tmp_path):
    source = torchreid.models.build_model('osnet_x0_25', 9, pretrained=False)
    state = {f'module.{k}': v for k, v in source.state_dict().items()}
    save_checkpoint(tmp_path / 'x', {'state_dict': state, 'epoch': 3})
    backbone, _ = build_backbone('osnet_x0_25', weights=str(tmp_path / 'x'))
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, state[f'module.{name}'])


def test_counters_of_batches_may_be_missing(tmp_path, imagenet):
    old = {k: v for k, v in imagenet.items() if 'num_batches_tracked' not in k}
    save_checkpoint(tmp_path / 'x.pth', old)
    build_backbone('resnet18', weights=str(tmp_path / 'x.pth'))


def test_a_missing_or_misshapen_tensor_is_named(tmp_path, imagenet):
    path = str(tmp_path / 'x.pth')
    state = dict(imagenet)
    del state['layer2.0.conv1.weight']
    save_checkpoint(path, state)
    text = refusal('resnet18', weights=path)
    assert text.startswith(f'model.backbone_weights={path}')
    assert '1 tensors' in text and 'layer2.0.conv1.weight' in text
    state['layer2.0.conv1.weight'] = torch.zeros(1)
    save_checkpoint(path, state)
    assert 'layer2.0.conv1.weight' in refusal('resnet18', weights=path)
    text = refusal('osnet_x0_25', weights=path)
    assert 'weights of another architecture' in text and ', ...' in text


def test_a_daam_file_belongs_elsewhere(tmp_path):
    path = str(tmp_path / 'x.pth')
    model = build_daam('resnet_tiny', 2, 2, pretrained=False)
    save_checkpoint(path, {'state_dict': model.state_dict()})
    text = refusal('resnet_tiny', weights=path)
    assert 'whole DAAM model' in text and 'model.load_weights' in text


def test_web_pages_code_and_nothing_are_refused(tmp_path):
    path = tmp_path / 'x.pth'
    key = f'model.backbone_weights={path}'
    assert refusal('resnet_tiny', weights=str(path)).startswith(key)
    path.write_text('<!DOCTYPE html><title>Sign in</title>')
    assert 'web page' in refusal('resnet_tiny', weights=str(path))
    torch.save({'a': Code(tmp_path / 'executed')}, path)
    assert 'not loaded' in refusal('resnet_tiny', weights=str(path))
    assert not (tmp_path / 'executed').exists()


# ImageNet weights through torchreid


def test_no_network_says_where_to_put_the_file(home):
    text = refusal('resnet18', pretrained=True)
    path = home / 'hub' / 'checkpoints' / 'resnet18-5c106cde.pth'
    assert text.startswith('model.pretrained=True: ImageNet weights of resnet')
    assert f'put the file at {path}' in text
    assert 'model.backbone_weights' in text


class _GdownError(Exception):
    pass


_GdownError.__module__ = 'gdown.exceptions'


@pytest.mark.parametrize(
    'error', [_GdownError('quota'), ConnectionError(), OSError('timeout')]
)
def test_gdown_without_network(home, monkeypatch, error):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(gdown, 'download', download)
    text = refusal('osnet_x0_25', pretrained=True)
    path = home / 'checkpoints' / 'osnet_x0_25_imagenet.pth'
    assert f'put the file at {path}' in text
    assert type(error).__name__ in text


def test_a_download_is_not_announced_on_stderr(home, monkeypatch, capsys):
    """As torch 2.5 does; a line of stderr is a fault of the run."""

    def build(*_, **__):
        print('Downloading: x', file=sys.stderr)
        raise urllib.error.URLError('no network')

    monkeypatch.setattr(torchreid.models, 'build_model', build)
    refusal('resnet18', pretrained=True)
    said = capsys.readouterr()
    assert (said.out, said.err) == ('Downloading: x\n', '')


def test_other_errors_are_not_taken_for_a_download(monkeypatch):
    def build(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(torchreid.models, 'build_model', build)
    with pytest.raises(ZeroDivisionError):
        build_backbone('resnet18', pretrained=True)


def test_a_file_in_the_cache_is_used_offline(home, imagenet):
    hub(home, 'resnet18-5c106cde.pth', imagenet)
    backbone, _ = build_backbone('resnet18', pretrained=True)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, imagenet[name]), name


def test_osnets_cache_is_another_one(home):
    source = torchreid.models.build_model(
        'osnet_x0_25', 1000, pretrained=False
    )
    path = home / 'checkpoints' / 'osnet_x0_25_imagenet.pth'
    save_checkpoint(path, source.state_dict())
    backbone, _ = build_backbone('osnet_x0_25', pretrained=True)
    state = source.state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize('name', ['resnet18', 'osnet_x0_25'])
@pytest.mark.filterwarnings('ignore:The pretrained weights')
def test_foreign_keys_in_the_cache_are_refused(home, name):
    foreign = {'encoder.weight': torch.zeros(2)}
    hub(home, 'resnet18-5c106cde.pth', foreign)
    save_checkpoint(home / 'checkpoints' / f'{name}_imagenet.pth', foreign)
    text = refusal(name, pretrained=True)
    assert text.startswith(f'ImageNet weights={home}')
    assert 'weights of another architecture' in text


def test_a_web_page_in_the_cache_is_refused(home):
    path = home / 'hub' / 'checkpoints' / 'resnet18-5c106cde.pth'
    path.parent.mkdir(parents=True)
    path.write_text('<html>')
    text = refusal('resnet18', pretrained=True)
    assert str(path) in text and 'web page' in text


def test_a_file_of_weights_makes_the_cache_needless(tmp_path, imagenet):
    save_checkpoint(tmp_path / 'x.pth', imagenet)
    build_backbone('resnet18', True, str(tmp_path / 'x.pth'))


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    ('name', 'file', 'source'),
    [
        ('resnet50_fc512', 'resnet50-19c8e357.pth', 'resnet50'),
        ('resnet50_ibn_a', 'resnet50-19c8e357.pth', 'resnet50'),
        ('resnet50_ibn_b', 'resnet50-19c8e357.pth', 'resnet50'),
        ('pcb_p4', 'resnet50-19c8e357.pth', 'resnet50'),
        (
            'resnext50_32x4d',
            'resnext50_32x4d-7cdf4587.pth',
            'resnext50_32x4d',
        ),
        (
            'shufflenet_v2_x1_0',
            'shufflenetv2_x1-5666bf0f80.pth',
            'shufflenet_v2_x1_0',
        ),
    ],
)
def test_torchvisions_files_fit_their_relatives(home, name, file, source):
    state = getattr(torchvision.models, source)(weights=None).state_dict()
    path = hub(home, file, state)
    backbone, _ = build_backbone(name, pretrained=True)
    own = backbone.state_dict()
    # Only what normalises instances has no partner in a plain ResNet.
    taken = [n for n in own if not {'IN', 'BN'} & set(n.split('.'))]
    assert len(taken) == len(own) or '_ibn_' in name
    for tensor in taken:
        assert torch.equal(own[tensor], state[tensor]), tensor
    save_checkpoint(path, {'a': torch.zeros(1)})
    assert str(path) in refusal(name, pretrained=True)


@pytest.mark.parametrize('name', BARE)
def test_every_download_has_a_place(name, home, monkeypatch):
    """Without network: one line that says where the file goes."""

    def build(*_, **__):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr(torchreid.models, 'build_model', build)
    place = f'put the file at {home}'
    none = 'mudeep', 'resnet_tiny', 'shufflenet_v2_x1_5', 'shufflenet_v2_x2_0'
    assert (place in refusal(name, pretrained=True)) != (name in none)

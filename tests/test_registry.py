"""registry.py: what torchreid knows after the import, and its tools."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchreid

import torchreid_daam
from layouts import write_market
from torchreid_daam import build_daam, load_model, registry
from torchreid_daam.data import synthetic
from torchreid_daam.errors import InputError
from torchreid_daam.runs.checkpoint import save_checkpoint, training_state


def models():
    return vars(torchreid.models)['__model_factory']


def datasets():
    return vars(torchreid.data.datasets)['__image_datasets']


def make(loss='daam'):
    """The paper's defaults, so that torchreid's builder makes it too."""
    return build_daam('resnet_tiny', 3, 5, loss, pretrained=False, seed=0)


def images(count=2, height=32, width=16):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=generator)


def python(code, **options):
    return subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        **options,
    )


def test_36_models():
    names = [name for name in models() if name.endswith('_daam')]
    assert len(names) == 36
    assert {'resnet50_daam', 'osnet_x1_0_daam', 'resnet_tiny_daam'} <= {*names}
    assert 'resnet_tiny' in models()
    assert all(name.removesuffix('_daam') in models() for name in names)
    assert registry.model_names() == list(models())


def test_registering_again_changes_nothing():
    before = dict(models()), dict(datasets())
    torchreid_daam.register()
    after = models(), datasets()
    for old, new in zip(before, after):
        assert list(old) == list(new)
    assert not any(name.endswith('_daam_daam') for name in models())


def test_reloading_and_importing_again_survives():
    code = """
import importlib, sys, warnings
warnings.simplefilter('ignore')
import torchreid_daam, torchreid
count = len(vars(torchreid.models)['__model_factory'])
for name in ('backbones', 'model', 'engine', 'registry'):
    importlib.reload(sys.modules[f'torchreid_daam.{name}'])
sys.modules['torchreid_daam.registry'].register()
importlib.reload(torchreid_daam)
for name in [n for n in sys.modules if n.startswith('torchreid_daam')]:
    del sys.modules[name]
import torchreid_daam
assert count == len(vars(torchreid.models)['__model_factory'])
model = torchreid.models.build_model('resnet_tiny_daam', 2, pretrained=False)
assert type(model) is torchreid_daam.DAAM
assert torchreid.engine.ImageDAAMEngine is torchreid_daam.ImageDAAMEngine
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', ['resnet_tiny', 'resnet50_daam'])
def test_a_foreign_model_is_not_overwritten(monkeypatch, name):
    monkeypatch.setitem(models(), name, dict)
    with pytest.raises(ValueError, match=f'model named {name}, from builtins'):
        torchreid_daam.register()
    assert models()[name] is dict


def test_foreign_data_sets_engines_and_losses_neither(monkeypatch):
    for table, name in (
        (datasets(), 'synthetic_target'),
        (vars(torchreid.engine), 'ImageDAAMEngine'),
        (vars(torchreid.losses), 'WeightedCrossEntropyLoss'),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(table, name, dict)
            with pytest.raises(ValueError, match=f'{name}, from builtins'):
                torchreid_daam.register()
            assert table[name] is dict


def test_published_on_torchreid():
    assert torchreid.engine.ImageDAAMEngine is torchreid_daam.ImageDAAMEngine
    loss = torchreid.losses.WeightedCrossEntropyLoss
    assert loss is torchreid_daam.WeightedCrossEntropyLoss
    for name in torchreid_daam.__all__:
        assert hasattr(torchreid_daam, name)


def test_show_avai_models(capsys):
    torchreid.models.show_avai_models()
    assert "'resnet50_daam'" in capsys.readouterr().out


def test_importing_is_silent():
    done = python('import torchreid_daam')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@pytest.mark.parametrize('loss', ['softmax', 'triplet', 'daam'])
def test_build_model_passes_the_loss(loss):
    model = torchreid.models.build_model(
        'resnet_tiny_daam', 4, loss=loss, pretrained=False, use_gpu=False
    )
    assert model.architecture == make().architecture
    y = model(images())
    assert (y if loss == 'softmax' else y[0]).shape == (2, 4)
    assert models()['resnet_tiny_daam'].__name__ == 'resnet_tiny_daam'
    assert 'DAAM on resnet_tiny' in models()['resnet_tiny_daam'].__doc__


def test_data_sets(tmp_path):
    assert {'synthetic_source', 'synthetic_target'} <= set(datasets())
    named = [name for name in datasets() if name != 'no_source']
    assert registry.dataset_names() == named
    with synthetic.selected('tiny', 0):
        manager = torchreid.data.ImageDataManager(
            root=str(tmp_path),
            sources='synthetic_source',
            targets='synthetic_target',
            height=32,
            width=16,
            batch_size_train=4,
            batch_size_test=4,
            workers=0,
            use_gpu=False,
        )
    batch = next(iter(manager.train_loader))
    assert batch['img'].shape == (4, 3, 32, 16)


def test_dataset_folder(market_root):
    assert registry.dataset_folder('synthetic_source') is None
    folder = registry.dataset_folder('market1501')
    assert (market_root / folder).is_dir()


def test_single_reads(tmp_path):
    write_market(tmp_path)
    manager = torchreid.data.ImageDataManager(
        root=str(tmp_path),
        sources='market1501',
        workers=0,
        use_gpu=False,
        height=32,
        width=16,
    )
    data = manager.train_loader.dataset
    module = torchreid.data.datasets.dataset
    original = module.read_image
    with registry.single_reads():
        assert data[0]['img'].shape == (3, 32, 16)
        with open(data.train[0][0], 'wb') as file:
            file.write(b'no image')
        # torchreid's own reader would never come back.
        with pytest.raises(InputError, match='not a readable image'):
            data[0]
    assert module.read_image is original


# torchreid's tools


def test_feature_extractor(tmp_path, capsys):
    model = make()
    path = tmp_path / 'x.pth'
    save_checkpoint(path, {'state_dict': model.state_dict()})
    extractor = torchreid.utils.FeatureExtractor(
        'resnet_tiny_daam', str(path), (32, 16), device='cpu', verbose=True
    )
    # Its own path of an array through PIL; the same pixels, normalised here.
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 3), np.uint8)
    x = torch.tensor(pixels).permute(2, 0, 1).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        wanted = load_model(path)(((x - mean) / std)[None])
    found = extractor(pixels)
    assert found.shape == (1, 256)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert 'Successfully loaded pretrained weights' in capsys.readouterr().out


def test_compute_model_complexity():
    model = torchreid.models.build_model(
        'resnet_tiny_daam', 2, pretrained=False
    )
    parameters, flops = torchreid.utils.compute_model_complexity(
        model, (1, 3, 32, 16)
    )
    # The stem alone: 16 x 27 weights at 16 x 8 places.
    assert flops > 16 * 27 * 16 * 8
    # What the embedding takes: training's heads and branch don't count.
    parts = model.backbone, model.attention, model.branch_dsh
    used = sum(p.numel() for part in parts for p in part.parameters())
    assert parameters == used
    assert model(images()).shape == (2, 2)  # its hooks are gone


def test_load_pretrained_weights(tmp_path):
    source, model = make(), make('softmax')
    path = tmp_path / 'x.pth'
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    save_checkpoint(path, {'state_dict': source.state_dict()})
    torchreid.utils.load_pretrained_weights(model, str(path))
    state = source.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_resume_from_checkpoint(tmp_path, capsys):
    """A file as our engine writes it, by torch's and torchreid's reader."""

    def objects():
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        return model, optimizer, scheduler

    model, optimizer, scheduler = objects()
    model(images()).y_s.sum().backward()
    optimizer.step()
    scheduler.step()
    state = training_state(model, optimizer, scheduler)
    state.update(epoch=4, rank1=0.25, rows=[{'stage': 'direct', 'mAP': 1.5}])
    path = str(tmp_path / 'last.pth')
    save_checkpoint(path, state)
    assert torch.load(path)['rows'] == state['rows']
    again = objects()
    start = torchreid.utils.resume_from_checkpoint(path, *again)
    assert start == 4 and 'Last rank1 = 25.0%' in capsys.readouterr().out
    for name, value in again[0].state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    momentum = [s['momentum_buffer'] for s in optimizer.state.values()]
    found = [s['momentum_buffer'] for s in again[1].state.values()]
    assert momentum and all(torch.equal(a, b) for a, b in zip(momentum, found))
    assert again[2].last_epoch == scheduler.last_epoch


@pytest.mark.parametrize('loss', ['softmax', 'triplet'])
@pytest.mark.parametrize('model_name', ['resnet_tiny_daam', 'resnet50_daam'])
@pytest.mark.filterwarnings('ignore')
def test_stock_engines_train_and_their_file_is_read(
    market_root, model_name, loss
):
    manager = torchreid.data.ImageDataManager(
        root=str(market_root),
        sources='market1501',
        height=32,
        width=16,
        batch_size_train=8,
        batch_size_test=8,
        workers=0,
        use_gpu=False,
        train_sampler='RandomIdentitySampler',
    )
    model = torchreid.models.build_model(
        model_name, manager.num_train_pids, loss, pretrained=False
    )
    before = model.classifier_s.weight.clone()
    optimizer = torchreid.optim.build_optimizer(model, lr=0.01)
    scheduler = torchreid.optim.build_lr_scheduler(optimizer)
    name = f'Image{loss.capitalize()}Engine'
    options = {'weight_x': 1} if loss == 'triplet' else {}
    engine = getattr(torchreid.engine, name)(
        manager,
        model,
        optimizer,
        scheduler=scheduler,
        use_gpu=False,
        **options,
    )
    folder = market_root / 'log'
    engine.run(
        save_dir=str(folder),
        max_epoch=1,
        fixbase_epoch=1,
        open_layers='classifier_s',
        ranks=[1],
    )
    assert not torch.equal(model.classifier_s.weight, before)
    (path,) = folder.rglob('model.pth.tar-1')
    again = load_model(path)
    assert torch.equal(again(images()), model.eval()(images()))

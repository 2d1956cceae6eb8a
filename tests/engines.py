"""Engines on the smallest embedded pair, and how to end their runs."""

import itertools
import operator

import torch
import torchreid

from torchreid_daam import ImageDAAMEngine, build_daam
from torchreid_daam.data import synthetic
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.runs.checkpoint import unwrapped
from torchreid_daam.runs.folder import RunFolder

SEED = 3
CLUSTERS = 6


def make_datamanager(root, workers=0, batch_size=8):
    with synthetic.selected('tiny', 0):
        return torchreid.data.ImageDataManager(
            root=str(root),
            sources='synthetic_source',
            targets='synthetic_target',
            height=32,
            width=16,
            transforms=['random_flip', 'random_crop', 'random_erase'],
            use_gpu=False,
            load_train_targets=True,
            batch_size_train=batch_size,
            batch_size_test=50,
            workers=workers,
        )


def make_engine(
    root, save_dir, workers=0, kind=ImageDAAMEngine, wrapped=False, **options
):
    datamanager = make_datamanager(root, workers)
    model = build_daam(
        'resnet_tiny',
        datamanager.num_train_pids,
        CLUSTERS,
        pretrained=False,
        seed=SEED,
    )
    if wrapped:  # without a GPU it hands everything on to the model inside
        model = torch.nn.DataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1.0)
    options = {
        'pretrain_epoch': 1,
        'rounds': 2,
        'round_epoch': 2,
        'labeller': KMeansLabeller(CLUSTERS),
        'terms': DAAMLoss(),
        'seed': SEED,
        **options,
    }
    return kind(
        datamanager,
        model,
        optimizer,
        scheduler,
        use_gpu=False,
        folder=RunFolder(save_dir, root),
        **options,
    )


def run(engine, save_dir, **options):
    engine.run(save_dir=str(save_dir), print_freq=1000, **options)
    model = unwrapped(engine.model)
    return {k: v.clone() for k, v in model.state_dict().items()}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


class Killed(BaseException):
    """Ends a run as nothing that is caught would."""


def killed_at(engine, name, call):
    """Makes the call number ``call`` of a method the run's last one."""
    counted = itertools.count(1)
    owner, _, attribute = name.rpartition('.')
    target = operator.attrgetter(owner)(engine) if owner else engine
    original = getattr(target, attribute)

    def method(*args, **kwargs):
        if next(counted) == call:
            raise Killed
        return original(*args, **kwargs)

    setattr(target, attribute, method)


def last(folder):
    path = folder / 'checkpoints' / 'last.pth'
    return torch.load(path, weights_only=True)

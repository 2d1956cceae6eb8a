"""Makes models, data sets, the engine and the loss known to torchreid.

The only module that touches torchreid's private names. ``import torchreid``
and attributes is the one form that works on both of its layouts: PyPI keeps
its modules under ``torchreid.reid``, upstream does not.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torchreid

from torchreid_daam.backbones import wrappable
from torchreid_daam.data.folder import NoSource, SourceFolder, TargetFolder
from torchreid_daam.data.reading import read_image
from torchreid_daam.data.synthetic import SyntheticSource, SyntheticTarget
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.losses import WeightedCrossEntropyLoss
from torchreid_daam.model import build_daam
from torchreid_daam.resnet_tiny import resnet_tiny

SUFFIX = '_daam'


def register() -> None:
    """Registers everything; calling it again changes nothing.

    Raises:
        ValueError: if a name is taken by somebody else's object; nothing of
            theirs is overwritten.
    """
    models = _models()
    _put(models, 'resnet_tiny', resnet_tiny, 'model')
    for name in wrappable(models):
        if not name.endswith(SUFFIX):
            _put(models, name + SUFFIX, _builder(name), 'model')
    datasets = vars(torchreid.data.datasets)['__image_datasets']
    _put(datasets, 'synthetic_source', SyntheticSource, 'data set')
    _put(datasets, 'synthetic_target', SyntheticTarget, 'data set')
    _put(datasets, 'source_folder', SourceFolder, 'data set')
    _put(datasets, 'target_folder', TargetFolder, 'data set')
    _put(datasets, 'no_source', NoSource, 'data set')
    _put(vars(torchreid.engine), 'ImageDAAMEngine', ImageDAAMEngine, 'engine')
    _put(
        vars(torchreid.losses),
        'WeightedCrossEntropyLoss',
        WeightedCrossEntropyLoss,
        'loss',
    )


def _models() -> dict[str, Callable]:
    return vars(torchreid.models)['__model_factory']


def model_names() -> list[str]:
    """All models that torchreid can build now."""
    return list(_models())


def dataset_names() -> list[str]:
    """All image data sets that a config can name now."""
    table = vars(torchreid.data.datasets)['__image_datasets']
    # It stands in where no source is named, and is none.
    return [name for name in table if table[name] is not NoSource]


def _put(table: dict[str, Any], name: str, value: Any, kind: str) -> None:
    there = table.get(name)
    # An object of our own may be of before a reload.
    if there is not None and not _is_ours(there):
        raise ValueError(
            f'torchreid already has a {kind} named {name}, from '
            f'{there.__module__}; it is not overwritten'
        )
    table[name] = value


def _is_ours(value: Any) -> bool:
    package = __name__.partition('.')[0]
    return getattr(value, '__module__', '').split('.')[0] == package


def _builder(backbone: str) -> Callable:
    """A builder in torchreid's form, with the paper's defaults."""

    def build(
        num_classes: int,
        loss: str = 'softmax',
        pretrained: bool = True,
        use_gpu: bool = True,
        **model_kwargs: Any,
    ):
        return build_daam(
            backbone,
            num_classes,
            loss=loss,
            pretrained=pretrained,
            **model_kwargs,
        )

    build.__name__ = build.__qualname__ = backbone + SUFFIX
    build.__doc__ = f'DAAM on {backbone}; see torchreid_daam.DAAM.'
    return build


@contextlib.contextmanager
def single_reads() -> Iterator[None]:
    """Inside, torchreid's data sets read an image once.

    Their reader repeats for ever when an image can't be decoded; ours names
    the file. Our engine reads images by itself; this is for stock engines.
    """
    module = torchreid.data.datasets.dataset
    original = module.read_image
    module.read_image = read_image
    try:
        yield
    finally:
        module.read_image = original


def recount(datamanager: Any) -> None:
    """Counts identities and cameras again after the training list changed."""
    dataset = datamanager.train_loader.dataset
    dataset.num_train_pids = dataset.get_num_pids(dataset.train)
    dataset.num_train_cams = dataset.get_num_cams(dataset.train)
    datamanager._num_train_pids = dataset.num_train_pids
    datamanager._num_train_cams = dataset.num_train_cams


def dataset_folder(name: str) -> str | None:
    """Folder below the data root that torchreid expects; None if any."""
    table = vars(torchreid.data.datasets)['__image_datasets']
    if _is_ours(table[name]):
        return None
    return getattr(table[name], 'dataset_dir', None)

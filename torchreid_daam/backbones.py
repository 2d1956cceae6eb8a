"""Backbones: which of torchreid's can be wrapped, and their weights."""

import contextlib
import http.client
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchreid
from torch import nn

from torchreid_daam.errors import InputError
from torchreid_daam.runs.checkpoint import read_checkpoint

# featuremaps() of resnet50mid gives three maps, an attention needs one.
SEVERAL_MAPS = ('resnet50mid',)
# torchreid gives these plain ResNet-50 weights; what normalises instances
# has no partner there and starts fresh.
PARTIAL_IMAGENET = ('resnet50_ibn_a', 'resnet50_ibn_b')
# Backbones that torchreid's table of addresses knows by another name.
_IMAGENET_NAMES = {
    'pcb_p4': 'resnet50',
    'pcb_p6': 'resnet50',
    'resnet50_fc512': 'resnet50',
    'resnet50_ibn_a': 'resnet50',
    'resnet50_ibn_b': 'resnet50',
    'se_resnet50_fc512': 'se_resnet50',
    'shufflenet_v2_x0_5': 'shufflenetv2_x0.5',
    'shufflenet_v2_x1_0': 'shufflenetv2_x1.0',
}
# Large enough for every backbone, also those without padding.
PROBE_SIZE = (1, 3, 256, 128)


def wrappable(builders: Mapping[str, Callable]) -> list[str]:
    """Names of the backbones whose ``featuremaps`` gives one tensor.

    Args:
        builders: torchreid's model table, name -> builder.
    """
    names = []
    for name, builder in builders.items():
        # A builder of somebody else's may be of no module that is loaded.
        module = vars(sys.modules.get(builder.__module__, object))
        classes = [
            value
            for value in module.values()
            if inspect.isclass(value)
            and value.__module__ == builder.__module__
        ]
        if any('featuremaps' in vars(c) for c in classes):
            names.append(name)
    return [name for name in names if name not in SEVERAL_MAPS]


def build_backbone(
    name: str,
    pretrained: bool = True,
    weights: str = '',
    last_stride: int = 0,
) -> tuple[nn.Module, int]:
    """A backbone without its head, and the channels of its map.

    Args:
        name: as torchreid knows it, e.g. ``resnet50``.
        pretrained: load ImageNet weights through torchreid's loader.
        weights: a local file instead, loaded strictly.
        last_stride: 1 takes the last stage's stride away (ResNet family);
            0 leaves the backbone as it is.

    Raises:
        InputError: if weights can't be had or don't fit.
    """
    fetch = pretrained and not weights
    cached = _imagenet_file(name) if fetch else None
    backbone = build_stock_model(
        name,
        'name a file in model.backbone_weights, or ',
        num_classes=1,
        pretrained=fetch,
        use_gpu=False,
    )
    channels = _keep_featuremaps_only(backbone)
    if weights:
        load_backbone_weights(backbone, weights)
    elif cached is not None and cached.is_file():
        # torchreid's loader drops keys that don't match, all of them too.
        state = read_checkpoint(cached, 'ImageNet weights')['state_dict']
        partial = name in PARTIAL_IMAGENET
        _check_fit(backbone, state, f'ImageNet weights={cached}', partial)
    if last_stride == 1:
        _remove_last_stride(backbone, name)
    return backbone, channels


def build_stock_model(
    name: str, instead: str = '', *, pretrained: bool, **kwargs: Any
) -> nn.Module:
    """torchreid's ``build_model``, whose downloads may fail in one line.

    Args:
        name: as torchreid knows it.
        instead: what else the user may do where a download failed.
        pretrained: whether ImageNet weights are fetched.
        kwargs: as for torchreid.

    Raises:
        InputError: if ImageNet weights can't be downloaded or read.
    """
    cached = _imagenet_file(name) if pretrained else None
    if cached is not None and cached.is_file():
        read_checkpoint(cached, 'ImageNet weights')  # or one line says why
    try:
        # torch 2.5 announces a download on stderr, which is for what
        # went wrong.
        with contextlib.redirect_stderr(sys.stdout):
            return torchreid.models.build_model(
                name, pretrained=pretrained, **kwargs
            )
    except Exception as error:  # gdown raises kinds of its own
        if not pretrained or not _is_download_error(error):
            raise
        raise _no_download(name, error, instead) from None


def load_backbone_weights(backbone: nn.Module, path: str) -> None:
    """Loads torchvision's or torchreid's file, every tensor of it needed.

    Raises:
        InputError: naming the tensors that are missing or misshapen.
    """
    key = 'model.backbone_weights'
    state = read_checkpoint(path, key)['state_dict']
    if 'record' in state:
        raise InputError(
            f'{key}={path}: holds a whole DAAM model; it belongs to '
            'model.load_weights'
        )
    _check_fit(backbone, state, f'{key}={path}')
    own = backbone.state_dict()
    own.update({name: state[name] for name in own if name in state})
    backbone.load_state_dict(own)


def _check_fit(
    backbone: nn.Module, state: Mapping, what: str, partial: bool = False
) -> None:
    wrong = [
        name
        for name, tensor in backbone.state_dict().items()
        # Files older than torch 0.4.1 lack this counter.
        if not name.endswith('num_batches_tracked')
        and not (partial and {'IN', 'BN'} & set(name.split('.')))
        and (name not in state or state[name].shape != tensor.shape)
    ]
    if wrong:
        shown = ', '.join(wrong[:3]) + (', ...' if len(wrong) > 3 else '')
        raise InputError(
            f'{what}: weights of another architecture; {len(wrong)} tensors '
            f'are missing or of another shape: {shown}'
        )


def _keep_featuremaps_only(backbone: nn.Module) -> int:
    """Deletes children that ``featuremaps`` never calls; returns C.

    A dummy call finds them, and C, which ``feature_dim`` is not for OSNet.
    """
    used: set[nn.Module] = set()
    hooks = [
        module.register_forward_hook(lambda m, *_: used.add(m))
        for module in backbone.modules()
    ]
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            f = backbone.featuremaps(torch.zeros(PROBE_SIZE))
    finally:
        for hook in hooks:
            hook.remove()
    backbone.train(training)
    for name, child in list(backbone.named_children()):
        if used.isdisjoint(child.modules()):
            delattr(backbone, name)
    return f.shape[1]


def _remove_last_stride(backbone: nn.Module, name: str) -> None:
    stage = getattr(backbone, 'layer4', None)
    if stage is None:
        raise InputError(
            f'model.last_stride=1: {name} has no last stage to change; '
            'allowed for the ResNet family, else 0'
        )
    for module in stage[0].modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)


def _imagenet_file(name: str) -> Path | None:
    """Where torchreid looks for a backbone's ImageNet weights."""
    builder = getattr(torchreid.models, name, None)
    tables = vars(sys.modules.get(getattr(builder, '__module__', ''), object))
    if name in tables.get('pretrained_urls', ()):
        home = Path(torch.hub.get_dir()).parent
        return home / 'checkpoints' / f'{name}_imagenet.pth'
    known = _IMAGENET_NAMES.get(name, name)
    url = tables.get('model_urls', {}).get(known)
    if known in tables.get('pretrained_settings', ()):
        url = tables['pretrained_settings'][known]['imagenet']['url']
    if not url:
        return None
    return Path(torch.hub.get_dir()) / 'checkpoints' / url.split('/')[-1]


def _is_download_error(error: Exception) -> bool:
    if isinstance(error, OSError | http.client.HTTPException):
        return True
    return type(error).__module__.split('.')[0] in ('gdown', 'requests')


def _no_download(name: str, error: Exception, instead: str) -> InputError:
    path = _imagenet_file(name)
    place = f'put the file at {path}' if path else 'take another backbone'
    return InputError(
        f'model.pretrained=True: ImageNet weights of {name} could not be '
        f'downloaded ({type(error).__name__}); {place}, or {instead}set '
        'model.pretrained False'
    )

"""Saved models: rebuilt from their own record, or taken into a model."""

import os
from collections.abc import Mapping
from typing import Any

from torchreid_daam.errors import InputError, one_line
from torchreid_daam.model import DAAM, build_daam
from torchreid_daam.record import RECORD_FORMAT, decode_record, with_feature
from torchreid_daam.runs.checkpoint import read_checkpoint


def load_model(path: str | os.PathLike, device: str = 'cpu') -> DAAM:
    """Rebuilds a saved model from its own record, in eval mode.

    Args:
        path: a checkpoint of this project or of a stock engine that trained
            a ``*_daam`` model, or a run's folder (its selected checkpoint).
        device: where the model goes.

    Raises:
        InputError: if the file holds no such model.
    """
    content = read_checkpoint(path)
    state = _weights(content)
    if 'record' not in state:
        raise InputError(
            f'file={path}: no record of a DAAM model; plain backbone weights '
            'go to model.backbone_weights'
        )
    kwargs = decode_record(state['record'])
    if (written := kwargs.pop('format', None)) != RECORD_FORMAT:
        raise InputError(
            f'file={path}: a model of format {written}; this version of '
            f'torchreid_daam reads {RECORD_FORMAT}'
        )
    named = content.get('model_name')
    if named is not None and named != f'{kwargs.get("backbone")}_daam':
        raise InputError(
            f'file={path}: model_name={named}, but its weights are of '
            f'{kwargs.get("backbone")}_daam'
        )
    try:
        model = _rebuilt(kwargs, state)
    except Exception as error:  # a broken record raises nearly any kind
        reason = f'{type(error).__name__}: {one_line(error)}'
        raise InputError(
            f'file={path}: not a whole DAAM model ({reason[:160]})'
        ) from None
    return model.to(device).eval()


def _weights(content: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of the model that a checkpoint's run tests and keeps.

    Checkpoints to go on from hold the trained weights, and the averaged ones
    beside them.
    """
    state = dict(content['state_dict'])
    average = content.get('averager') or {}
    for name, value in average.items():
        if name in state and state[name].shape == value.shape:
            state[name] = value
    return state


def _rebuilt(kwargs: dict[str, Any], state: dict[str, Any]) -> DAAM:
    """The model of a record, with the weights that came with it."""
    # Before anything is allocated: a record may promise any size.
    embed_dim = len(state['branch_dsh.fc.weight'])
    if kwargs.get('embed_dim') != embed_dim:
        raise ValueError(
            f'embed_dim={kwargs.get("embed_dim")} in the record, {embed_dim} '
            'in the weights'
        )
    heads = [n for n in ('classifier_t', 'nominal') if f'{n}.weight' in state]
    model = build_daam(
        kwargs.pop('backbone'),
        num_classes_s=len(state['classifier_s.weight']),
        num_clusters=len(state.get('classifier_t.weight', [0])),
        loss='daam' if 'classifier_t' in heads else 'softmax',
        pretrained=False,
        nominal_head='nominal' in heads,
        **kwargs,
    )
    model.load_state_dict(state)
    return model


def load_weights(
    model: DAAM, path: str | os.PathLike, key: str, tested: bool = False
) -> None:
    """Loads a ``*_daam`` checkpoint whose heads may be other ones.

    Heads belong to data: those that are missing, or made for another number
    of classes, keep their fresh weights.

    Args:
        model: gets them.
        path: of the checkpoint, or of a run's folder.
        key: the config key that named it, for messages.
        tested: whether the model is to be tested as it is; then it is told
            where the file's model gave another feature.

    Raises:
        InputError: if the file is a plain backbone's or another model's.
    """
    state = _weights(read_checkpoint(path, key))
    if 'record' not in state:
        raise InputError(
            f'{key}={path}: not a *_daam checkpoint; plain backbone weights '
            'go to model.backbone_weights and need train.pretrain_epoch > 0'
        )
    if not tested:
        state['record'] = with_feature(state['record'], model.architecture)
    own = model.state_dict()
    heads = ('classifier_s.', 'classifier_t.', 'nominal.', 'domain.')
    for name, value in own.items():
        fits = name in state and state[name].shape == value.shape
        if name.startswith(heads) and not fits:
            state[name] = value
    extra = [n for n in state if n not in own and n.startswith(heads)]
    for name in extra:
        del state[name]
    try:
        model.load_state_dict(state)
    except InputError as error:
        raise InputError(f'{key}={path}: {error}') from None
    except RuntimeError as error:
        reason = one_line(error)
        raise InputError(f'{key}={path}: {reason[:200]}') from None

"""What a checkpoint of a run has to look like before it is gone on with.

Whoever wrote it, a file of another form is refused by the name of its part,
and never trained on.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchreid_daam.errors import InputError


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _flag(value: Any) -> bool:
    return type(value) is bool


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _weights(value: Any) -> bool:
    return _mapping(value) and all(
        isinstance(tensor, torch.Tensor) for tensor in value.values()
    )


def _optimizer(value: Any) -> bool:
    return (
        _mapping(value)
        and _mapping(value.get('state'))
        and isinstance(value.get('param_groups'), list)
        and all(map(_mapping, value['param_groups']))
    )


def _row(value: Any) -> bool:
    return (
        _mapping(value)
        and isinstance(value.get('stage'), str)
        and isinstance(value.get('dataset'), str)
        and _count(value.get('round'))
        and _count(value.get('epoch'))
        and _number(value.get('mAP'))
        and _number(value.get('rank1'))
    )


def _rows(value: Any) -> bool:
    return isinstance(value, list) and all(map(_row, value))


def _parts(value: Any) -> bool:
    return isinstance(value, list) and all(
        _mapping(part)
        and isinstance(part.get('started'), str)
        and _number(part.get('seconds'))
        for part in value
    )


def _origin(value: Any) -> bool:
    if not (_mapping(value) and _mapping(value.get('config'))):
        return False
    digests = [text for name, text in value.items() if name != 'config']
    return all(isinstance(text, str) for text in digests)


def _scores(value: Any) -> bool:
    return _mapping(value) and all(
        _count(round_) and _number(score) for round_, score in value.items()
    )


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(name, str) for name in value
    )


Check = Callable[[Any], bool]
# A run of ours; parts that may be missing.
RUN: dict[str, Check] = {
    'state_dict': _weights,
    'optimizer': _optimizer,
    'scheduler': lambda value: value is None or _mapping(value),
    'origin': _origin,
    'epoch': _count,
    'batch': _count,
    'planned': _count,
    'recorded': _flag,
    'complete': _flag,
    'round': _count,
    'rows': _rows,
    'skipped': _count,
}
RUN_MAYBE: dict[str, Check] = {
    'parts': _parts,
    'round_scores': _scores,
    'trained': _count,
    'pseudo_labels': _weights,
    'target_names': _names,
    'averager': _weights,
    'scaler': _mapping,
}
# What torchreid's engines go on from.
STOCK = {'state_dict': _weights, 'epoch': _count}
STOCK_MAYBE: dict[str, Check] = {
    'optimizer': _optimizer,
    'scheduler': _mapping,
    'origin': _origin,
    'parts': _parts,
}


def check_form(
    path: str,
    state: Mapping[str, Any],
    parts: Mapping[str, Check],
    maybe: Mapping[str, Check],
) -> None:
    """Checks the parts of a checkpoint, not what they say.

    Args:
        path: the file, for the message.
        state: its content.
        parts: checks of those that have to be there.
        maybe: checks of those that may be.

    Raises:
        InputError: naming the first part that is not as expected.
    """
    for name, check in {**parts, **maybe}.items():
        if name in state:
            said = '' if check(state[name]) else 'is not as a run writes it'
        else:
            said = 'is missing' if name in parts else ''
        if said:
            raise InputError(
                f'model.resume={path}: not a checkpoint of a run; its '
                f'{name} {said}'
            )

"""What a model is, as it travels with its weights.

torchreid's builders, engines and loaders know nothing of it, so it is an
entry of the state dict: the architecture as JSON in a tensor.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import torch

from torchreid_daam.errors import InputError

RECORD_LENGTH = 512
RECORD_FORMAT = 1
# What a model gives whose record names no feature.
DEFAULT_FEATURE = 'embedding'
logger = logging.getLogger('torchreid_daam')


def encode_record(architecture: dict[str, Any]) -> torch.Tensor:
    """The record as a tensor of fixed length.

    torchreid calls ``.size()`` on every entry of a state dict, and its stock
    engines save no other key: so it travels among the weights.
    """
    text = json.dumps(architecture).encode()
    if len(text) > RECORD_LENGTH:
        raise ValueError(f'the record takes {len(text)} bytes')
    return torch.tensor([*text.ljust(RECORD_LENGTH)], dtype=torch.uint8)


def decode_record(record: torch.Tensor) -> dict[str, Any]:
    """The architecture that a state dict's ``record`` describes."""
    try:
        found = json.loads(bytes(record.tolist()))
    except (AttributeError, TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError("the file's record of its model is broken")
    return found


def with_feature(
    record: torch.Tensor, architecture: Mapping[str, Any]
) -> torch.Tensor:
    """The record, as if its model gave the feature of an architecture.

    Raises:
        InputError: if the record is broken.
    """
    found = decode_record(record)
    found.pop('feature', None)
    if 'feature' in architecture:
        found['feature'] = architecture['feature']
    return encode_record(found)


def check_same(own: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Checks that weights are of a model's architecture.

    Args:
        own: the model's.
        other: that of the weights. What it gives in eval mode may differ,
            and is told then.

    Raises:
        InputError: naming the first field that differs.
    """
    for name, value in own.items():
        if name == 'feature':
            continue
        if other.get(name) != value:
            raise InputError(
                f'weights of another architecture: {name}='
                f'{other.get(name)!r} in the file, {value!r} in the model'
            )
    given, wanted = (
        each.get('feature', DEFAULT_FEATURE) for each in (other, own)
    )
    if given != wanted:
        logger.warning(
            'weights of a model that gives %s are loaded into one that gives '
            '%s: other vectors, other scores, another threshold; '
            'test.feature %s, or torchreid_daam.load_model, keeps its own',
            given,
            wanted,
            given,
        )

"""What stands beside an exported file, for people and for trackers."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchreid_daam.delivery.graph import BATCH, INPUT, OPSET, OUTPUT, Size
from torchreid_daam.delivery.naming import BOXMOT_BACKBONES

FORMAT = 1
PACKAGES = (
    'torchreid-daam',
    'torchreid',
    'torch',
    'onnx',
    'onnxruntime',
)
# What BoxMOT takes off each crop, whatever the file says (version 25.0.0,
# reid/backends/base_backend.py): ImageNet's.
BOXMOT_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LICENCE = (
    'torchreid_daam and torchreid are MIT-licensed. The weights are bound '
    'to the terms of the data sets they were trained on, named under '
    '"data", and to those of the pretrained weights they started from; '
    'most person re-identification data allows research only.'
)


def metadata_path(path: Path) -> Path:
    """``<file>.metadata.json``, where BoxMOT 25 looks for it."""
    return path.with_name(f'{path.name}.metadata.json')


def input_output(
    incoming: Size,
    trained: Size,
    dim: int,
    mean: list[float],
    std: list[float],
    normalized: bool,
) -> dict[str, Any]:
    """How images have to come in and what comes out."""
    return {
        'input': {
            'name': INPUT,
            'dtype': 'float32',
            'shape': [BATCH, 3, *incoming],
            'colour_order': 'RGB',
            'range': 'pixels / 255, then (x - mean) / std by channel',
            'mean': mean,
            'std': std,
            'resized_in_graph_to': None if incoming == trained else trained,
        },
        'output': {
            'name': OUTPUT,
            'dtype': 'float32',
            'shape': [BATCH, dim],
            'l2_normalized': normalized,
        },
    }


def for_trackers(
    backbone: str,
    incoming: Size,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, Any]:
    """The keys that BoxMOT reads, and what it makes of the file.

    ``model_name`` ends in ``_daam``, which no tracker knows: so none builds
    a plain backbone in its place. An ONNX file runs as it is. Mean and
    standard deviation are no matter of metadata there.
    """
    alike = (tuple(mean), tuple(std)) == BOXMOT_MEAN_STD
    note = 'BoxMOT runs this file as it is, at the size of its input'
    if backbone not in BOXMOT_BACKBONES:
        note += f'; it has no backbone of the name {backbone}'
    if not alike:
        note += (
            "; it takes off ImageNet's mean and standard deviation, not "
            "this model's, so its vectors would be wrong"
        )
    return {
        'model_name': f'{backbone}_daam',
        'preprocess': 'resize',
        'model_kwargs': {'img_size': list(incoming)},
        'boxmot': {
            'knows_backbone': backbone in BOXMOT_BACKBONES,
            'prepares_images_alike': alike,
            'note': note,
        },
    }


def versions(format_: str) -> dict[str, Any]:
    """Of what wrote and checked the file."""
    found: dict[str, Any] = {'onnx_opset': OPSET}
    for name in PACKAGES:
        if format_ != 'onnx' and name.startswith('onnx'):
            continue
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    if format_ != 'onnx':
        del found['onnx_opset']
    return found


def differences(path: Path, metadata: Mapping[str, Any]) -> list[str]:
    """What an earlier file of this name takes or gives otherwise.

    A tracker that was set up for it would go on with wrong vectors.
    """
    try:
        text = metadata_path(path).read_text(encoding='utf-8')
        earlier = json.loads(text)
        now = json.loads(json.dumps(metadata))  # tuples are lists there
        return [
            f'{key} was {earlier[part][key]}, is {value}'
            for part in ('input', 'output')
            for key, value in now[part].items()
            if earlier[part][key] != value
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no such file, or none that we wrote


def describe(
    name: str, content: bytes, format_: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    """What the ``.metadata.json`` holds: the file's own marks, then more."""
    return {
        'format': FORMAT,
        'file': name,
        'bytes': len(content),
        'sha256': hashlib.sha256(content).hexdigest(),
        **more,
        'versions': versions(format_),
        'licence': LICENCE,
    }

"""Running an exported file: images in, vectors out."""

import importlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from torchreid_daam.delivery.graph import INPUT
from torchreid_daam.errors import InputError

# Images (N, 3, H, W) float32, mean and std taken off -> vectors (N, D).
Extractor = Callable[[np.ndarray], np.ndarray]
SUFFIXES = {'onnx': '.onnx', 'torchscript': '.torchscript'}


def require_packages(*names: str) -> None:
    """Raises InputError naming the extra where a package is missing."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f'--format onnx: the package {name} is missing; install '
                "the extra: pip install 'torchreid-daam[export]'"
            ) from None


def open_file(format_: str, content: bytes) -> Extractor:
    """An extractor of a file's bytes, on the CPU and torch's thread count.

    Args:
        format_: a key of ``SUFFIXES``.
        content: the file.
    """
    if format_ == 'onnx':
        return _open_onnx(content)
    return _open_torchscript(content)


def _open_onnx(content: bytes) -> Extractor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # warnings on its own optimisations
    session = onnxruntime.InferenceSession(
        content, options, providers=['CPUExecutionProvider']
    )
    return lambda images: session.run(None, {INPUT: images})[0]


def _open_torchscript(content: bytes) -> Extractor:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch.jit is to be replaced
        module: Any = torch.jit.load(io.BytesIO(content)).eval()
    return from_module(module)


def from_module(module: Callable[[torch.Tensor], torch.Tensor]) -> Extractor:
    """An extractor of what maps tensors to tensors on the CPU."""

    def extract(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    return extract

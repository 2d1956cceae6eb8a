"""Smaller numbers in an ONNX file: half floats, or 8-bit integers."""

import tempfile
import warnings
from pathlib import Path

import numpy as np

from torchreid_daam.delivery.graph import INPUT

PRECISIONS = ('fp32', 'fp16', 'int8')
CALIBRATION_IMAGES = 128
_CALIBRATION_BATCH = 16


def to_fp16(content: bytes) -> bytes:
    """Weights and arithmetic in half floats; input and output stay float32.

    Args:
        content: an fp32 ONNX file.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # weights below 6e-8 become 6e-8
        model = convert_float_to_float16(
            onnx.load_from_string(content), keep_io_types=True
        )
    return model.SerializeToString()


def to_int8(content: bytes, images: np.ndarray) -> bytes:
    """Static quantisation: convolutions and products in 8-bit integers.

    Weights have a scale per output channel, activations one per tensor
    whose range is the one seen on the calibration images.

    Args:
        content: an fp32 ONNX file.
        images: (N, 3, H, W) float32, of the target's training part.
    """
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / 'plain.onnx'
        prepared = Path(folder) / 'prepared.onnx'
        result = Path(folder) / 'int8.onnx'
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(result),
            _Batches(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=['Conv', 'Gemm', 'MatMul'],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return result.read_bytes()


class _Batches:
    """Calibration images in the form that onnxruntime reads."""

    def __init__(self, images: np.ndarray) -> None:
        starts = range(0, len(images), _CALIBRATION_BATCH)
        self._batches = iter(
            [images[i : i + _CALIBRATION_BATCH] for i in starts]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

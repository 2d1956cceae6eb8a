"""What a tracker needs of a model, as an ONNX or TorchScript graph."""

import io
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from torchreid_daam.attention import split
from torchreid_daam.model import DAAM

INPUT, OUTPUT, BATCH = 'images', 'features', 'batch'
# The newest whose every operator onnxruntime 1.20 and TensorRT 10 run.
OPSET = 17
Size = tuple[int, int]


class Embedding(nn.Module):
    """The path of eval mode alone: no head, no domain-specific branch.

    Args:
        model: it is not copied; it has to be in eval mode.
        resize_to: (H, W) the model was trained at, where images come in
            another size; None leaves them as they come.
        normalize: divide each vector by its length.
    """

    def __init__(
        self,
        model: DAAM,
        resize_to: Size | None = None,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.attention = getattr(model, 'attention', None)
        self.branch_dsh = model.eval_branch()
        self.resize_to = resize_to
        self.normalize = normalize
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, D); see ``DAAM``."""
        if self.resize_to is not None:
            x = resized(x, self.resize_to)
        f = self.backbone.featuremaps(x)
        if self.attention is not None:
            f, _ = split(f, self.attention(f))
        v = self.branch_dsh(f)
        return F.normalize(v) if self.normalize else v


def resized(x: torch.Tensor, size: Size) -> torch.Tensor:
    """Bilinear, half-pixel centres, no antialiasing: as OpenCV resizes.

    Mean and standard deviation may be taken off before or after: the
    weights of a pixel's neighbours add up to 1.

    Args:
        x: images (N, 3, H, W).
        size: (H, W) wanted.
    """
    return F.interpolate(
        x, size=size, mode='bilinear', align_corners=False, antialias=False
    )


@torch.no_grad()
def to_onnx(embedding: Embedding, size: Size) -> bytes:
    """An ONNX file whose batch is free and whose height and width are fixed.

    By torch's exporter that traces. The newer one needs onnxscript, and in
    torch 2.5 is a preview; what either gives is proved by the same parity.

    Args:
        embedding: the module.
        size: (H, W) of the images that will come in.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that the newer one is preferred
        torch.onnx.export(
            embedding,
            (_example(size),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: BATCH}, OUTPUT: {0: BATCH}},
        )
    return file.getvalue()


@torch.no_grad()
def to_torchscript(embedding: Embedding, size: Size) -> bytes:
    """A traced TorchScript file; see :func:`to_onnx`."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(embedding, _example(size), check_trace=False)
        torch.jit.save(traced, file)
    return file.getvalue()


def _example(size: Size) -> torch.Tensor:
    # Two images, so that no dimension of 1 is taken for a constant.
    return torch.zeros(2, 3, *size)

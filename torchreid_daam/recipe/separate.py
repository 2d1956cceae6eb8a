"""Source and target one after the other, each with its own batch statistics.

A joint batch is normalised by a mixture of both domains, which no test sees:
where ``adapt_bn`` re-estimates BatchNorm's statistics on the target, training
in separate batches normalises as the test does. Chang et al.,
"Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR
2019; SpCL (Ge et al., NeurIPS 2020) does so too. Here both domains share the
affine weights and the running statistics.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch


def separate_forward(
    model: Callable[[torch.Tensor], Any],
    imgs: torch.Tensor,
    batch: Mapping[str, Any],
) -> Any:
    """A joint batch's outputs, of two calls. Config key ``train.forward``.

    Args:
        model: from images to a NamedTuple of tensors (N, ...) and Nones.
        imgs: (N, C, H, W), rows of both domains or of one.
        batch: with ``is_source``, a mask (N,).

    Returns:
        As the model gives, in the order of the rows.
    """
    is_source = batch['is_source']
    if is_source.all() or not is_source.any():
        return model(imgs)
    source, target = model(imgs[is_source]), model(imgs[~is_source])
    return type(source)(
        *(
            _interleaved(one, other, is_source)
            for one, other in zip(source, target, strict=True)
        )
    )


def _interleaved(
    source: torch.Tensor | None,
    target: torch.Tensor | None,
    is_source: torch.Tensor,
) -> torch.Tensor | None:
    if source is None or target is None:
        return None
    rows = source.new_empty(len(is_source), *source.shape[1:])
    rows[is_source], rows[~is_source] = source, target
    return rows

"""Soft assignments over the centres of the clusters, a form of our own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from torchreid_daam.pseudo_labels import PseudoLabels, unit_rows
from torchreid_daam.recipe.terms import rows_of_target


def soft_assignments(
    features: np.ndarray, labels: PseudoLabels, temperature: float = 0.1
) -> np.ndarray:
    """Probabilities of the clusters, given an image.

    Eq. (7) of arXiv:1905.10529 takes the nearest centre and forgets how near
    the next ones are. Let each cluster be a normal distribution around its
    centre, all with the same variance s^2 in every direction and equally
    frequent; then Bayes' rule gives, with T = 2 s^2::

        q_ik = exp(-|f_i - C_k|^2 / T) / sum_l exp(-|f_i - C_l|^2 / T)

    with f of length 1 and C_k the mean of the cluster's members. For T to 0
    this is Eq. (7) around these means. The derivation is ours: a later
    version of the paper has a soft label loss of another, unknown form.

    Args:
        features: f_sh (N, D).
        labels: of the same images; a cluster without a member gets nothing.
        temperature: T. Config key ``loss.daam.assign_temperature``.

    Returns:
        q (N, K) float32, each row's sum 1.
    """
    f = unit_rows(np.asarray(features, dtype=np.float64))
    centers = labels.means(f)
    filled = np.bincount(
        labels.labels[labels.labels >= 0], minlength=len(centers)
    )
    square = (
        np.square(f).sum(axis=1)[:, None]
        + np.square(centers).sum(axis=1)[None]
        - 2 * f @ centers.T
    )
    logits = np.where(filled > 0, -square / temperature, -np.inf)
    logits -= logits.max(axis=1, keepdims=True)
    q = np.exp(logits)
    return (q / q.sum(axis=1, keepdims=True)).astype(np.float32)


def with_assignments(
    features: np.ndarray,
    labels: PseudoLabels,
    previous: PseudoLabels | None,
    temperature: float = 0.1,
) -> PseudoLabels:
    """Labels with :func:`soft_assignments` beside them.

    Args:
        features: f_sh (N, D).
        labels: of the same images.
        previous: not used.
        temperature: see :func:`soft_assignments`.
    """
    soft = soft_assignments(features, labels, temperature)
    return labels._replace(soft=soft)


def assignment_term(
    output: Any, batch: Mapping[str, Any]
) -> torch.Tensor | None:
    """Cross entropy of the K-way head with the soft assignments.

    ``- mean_i sum_k q_ik log p(k | x_i)`` over the target's rows: up to a
    constant the Kullback-Leibler divergence of p from q. With q all at the
    label it is Eq. (8) with every weight 1.
    """
    if 'soft_t' not in batch:
        return None
    return F.cross_entropy(rows_of_target(output.y_t, batch), batch['soft_t'])

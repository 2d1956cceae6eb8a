"""Figures on the model of a round, from bounded samples of both domains."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import nn

from torchreid_daam.data.domains import Domains
from torchreid_daam.evaluation.health import round_figures, silhouette
from torchreid_daam.evaluation.selection import signs
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.randomness import key_generator, restored
from torchreid_daam.runs.checkpoint import unwrapped

logger = logging.getLogger('torchreid_daam')
# Images of each domain; a round sees each image once or more, with gradients.
SAMPLE = 500


class Observer:
    """The engine's observer seat: figures of a round, for people to read.

    It looks at the model and changes nothing: eval mode, no gradient, random
    numbers by key.

    Args:
        seed: of the samples.
        sample: images of each domain that the model is looked at with.
        more: further figures of a round, such as those of a search for K.
    """

    def __init__(
        self,
        seed: int,
        sample: int = SAMPLE,
        more: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.seed = seed
        self.sample = sample
        self.more = more
        self._rounds: list[dict[str, Any]] = []

    def __call__(
        self,
        round_: int,
        model: nn.Module,
        domains: Domains,
        features: np.ndarray,
        labels: PseudoLabels,
        previous: PseudoLabels | None,
    ) -> dict[str, Any]:
        """Figures for ``rounds.jsonl``, by name.

        Args:
            round_: number of the round that begins.
            model: in eval mode, with the statistics it is tested with.
            domains: where samples are read from.
            features: f_sh (N, D) of the target's training images.
            labels: of this round.
            previous: of the round before, if there was one.
        """
        figures = round_figures(labels, previous, domains.target_cameras)
        generator = key_generator(self.seed, 'health', round_)
        figures['silhouette'] = silhouette(features, labels.labels, generator)
        figures.update(self.more())
        self._rounds.append({'round': round_, **figures})
        for sign in signs(self._rounds):
            logger.warning('%s', sign)
        looks = {}
        for name in domains.sampled:
            with restored():
                batches = domains.sample_pass(name, self.sample, generator)
                looks[name] = look(unwrapped(model), batches)
        target = looks['target']
        figures['attention_mean'] = target['attention_mean']
        figures['attention_entropy'] = target['attention_entropy']
        if 'source' not in looks:
            return figures
        source = looks['source']
        figures['domain_accuracy'] = head_accuracy(
            source['y_domain'], target['y_domain']
        )
        figures['probe_accuracy'] = probe_accuracy(
            source['feat_dsh'], target['feat_dsh'], generator
        )
        return figures


@torch.no_grad()
def look(model: nn.Module, batches: Any) -> dict[str, Any]:
    """What a model in eval mode makes of images.

    Returns:
        ``feat_dsh`` (N, D) and ``y_domain`` (N, 2) or None, and of A the
        mean and the mean binary entropy in bits: 1 where A is .5, 0 where it
        parts a map cleanly. None without attention or for an unbounded gate.
    """
    device = next(model.parameters()).device
    maps: list[torch.Tensor] = []
    attention = getattr(model, 'attention', None)
    handle = None
    if attention is not None:
        handle = attention.register_forward_hook(
            lambda module, inputs, output: maps.append(output)
        )
    feats, domains, means, entropies = [], [], [], []
    try:
        for imgs in batches:
            maps.clear()
            f = model.backbone.featuremaps(imgs.to(device))
            f_dsh, f_dsp = model.separate(f)
            feats.append(model.branch_dsh(f_dsh).float().cpu().numpy())
            head = getattr(model, 'domain', None)
            if head is not None:
                y = head(model.branch_dsp(f_dsp))
                domains.append(y.float().cpu().numpy())
            if maps:
                a = maps[0].float()
                means += a.mean(dim=(1, 2, 3)).tolist()
                entropies += _entropy(a)
    finally:
        if handle is not None:
            handle.remove()
    return {
        'feat_dsh': np.concatenate(feats),
        'y_domain': np.concatenate(domains) if domains else None,
        'attention_mean': float(np.mean(means)) if means else None,
        'attention_entropy': float(np.mean(entropies)) if entropies else None,
    }


def _entropy(a: torch.Tensor) -> list[float]:
    """Mean binary entropy in bits of each map (N, C, h, w) in [0, 1]."""
    if a.min() < 0 or a.max() > 1:
        return []
    nats = -(torch.xlogy(a, a) + torch.xlogy(1 - a, 1 - a))
    return (nats.mean(dim=(1, 2, 3)) / np.log(2)).tolist()


def head_accuracy(
    source: np.ndarray | None, target: np.ndarray | None
) -> float | None:
    """Balanced accuracy of the head of Eq. (10) on f_sp.

    Args:
        source: logits (N, 2) of source images; column 0 is the source.
        target: logits (M, 2) of target images.
    """
    if source is None or target is None:
        return None
    right = (source[:, 0] > source[:, 1]).mean()
    return float((right + (target[:, 1] > target[:, 0]).mean()) / 2)


def probe_accuracy(
    source: np.ndarray, target: np.ndarray, generator: np.random.Generator
) -> float | None:
    """Balanced accuracy of a linear probe that tells the domains apart.

    Logistic regression on one half of f_sh, scored on the other half: .5
    where the domains overlap, 1 where a plane parts them.

    Args:
        source: f_sh (N, D).
        target: f_sh (M, D).
        generator: splits into halves.

    Returns:
        None where a domain has fewer than four images.
    """
    if min(len(source), len(target)) < 4:
        return None
    halves: list[list[np.ndarray]] = [[], []]
    for feats in (source, target):
        order = generator.permutation(len(feats))
        half = len(feats) // 2
        halves[0].append(feats[order[:half]])
        halves[1].append(feats[order[half:]])
    fit, score = map(np.concatenate, halves)
    fit_s, score_s = len(halves[0][0]), len(halves[1][0])
    probe = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=500, class_weight='balanced'),
    )
    with threadpool_limits(limits=1):
        probe.fit(fit, np.arange(len(fit)) >= fit_s)
        guess = probe.predict(score)
    return float((np.mean(~guess[:score_s]) + np.mean(guess[score_s:])) / 2)

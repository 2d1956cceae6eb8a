"""Cluster Contrast: a memory of clusters instead of a classifier.

Dai, Wang, Yuan, Zhu and Tan, "Cluster Contrast for Unsupervised Person
Re-Identification", ACCV 2022, arXiv:2103.11568. Features of the target are
clustered by DBSCAN on the Jaccard distance; each cluster has one vector in a
memory, at first the mean of its members; an image is told apart from all other
clusters by InfoNCE against that memory; every image of a batch then moves its
cluster's vector.

What was taken: temperature 0.05, memory momentum 0.1, the update by each image
in turn (the authors' form without a hardest instance). What was scaled:
backbone, size, batch and augmentation are those of the other rows, instead of
ResNet-50 with Adam and 50 epochs; rates, rounds, eps, k1 and the sampler are
those of the row's settings. The authors fill batches with P clusters and K
images of each; with the batches of 32 here that did worse than random ones
wherever both were tried at one rate, and the row has random ones
(``docs/plus.md``). It starts from the source pretraining of the other rows,
where the paper starts from ImageNet's weights, and then trains on the target
alone: as many images as their rounds see of both domains. The feature is the
one of ``test.feature``: with ``pre_relu`` an embedding behind a BatchNorm,
where the paper has the pooled map behind one. This is not SpCL without its
self-paced part, which learns from the source too, keeps a vector of each
image, and has outliers as instances in its memory.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from yacs.config import CfgNode as CN

from baselines.loop import (
    adapt_to_target,
    build_optimizer,
    finish,
    round_epochs,
    score,
    target_batches,
)
from torchreid_daam.job import Job, prepare
from torchreid_daam.pseudo_labels import PseudoLabels, unit_rows
from torchreid_daam.randomness import key_generator, key_seed, seeded

TEMPERATURE = 0.05
MOMENTUM = 0.1


class ClusterMemory:
    """One vector of length 1 for each cluster.

    Args:
        centers: (K, D), means of the clusters.
        temperature: by which cosines are divided.
        momentum: share of a vector that stays when an image moves it.
    """

    def __init__(
        self,
        centers: torch.Tensor,
        temperature: float = TEMPERATURE,
        momentum: float = MOMENTUM,
    ) -> None:
        self.centers = F.normalize(centers, dim=1)
        self.temperature = temperature
        self.momentum = momentum

    def loss(self, v: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """InfoNCE, mean over rows.

        ``-log exp(q . c_label / T) / sum_k exp(q . c_k / T)`` with q = v of
        length 1; no gradient flows into the memory.

        Args:
            v: embeddings (N, D).
            labels: clusters (N,).
        """
        y = F.normalize(v, dim=1) @ self.centers.T
        return F.cross_entropy(y / self.temperature, labels)

    @torch.no_grad()
    def update(self, v: torch.Tensor, labels: torch.Tensor) -> None:
        """Each row in turn: ``c <- m c + (1 - m) q``, of length 1 again."""
        for q, k in zip(F.normalize(v, dim=1), labels.tolist(), strict=True):
            moved = self.momentum * self.centers[k] + (1 - self.momentum) * q
            self.centers[k] = F.normalize(moved, dim=0)


class Embedding(nn.Module):
    """What a test gets, while training too.

    Args:
        model: a DAAM without attention.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, D)."""
        f_dsh, _ = self.model.separate(self.model.backbone.featuremaps(x))
        return self.model.eval_branch()(f_dsh)


def run(cfg: CN) -> dict[str, Any]:
    """Trains and scores; rows of each round and ``final``."""
    job = prepare(cfg)
    model, domains = job.engine.model, job.engine.domains
    optimizer = build_optimizer(model, job.cfg)
    epoch, labels = 0, None
    for round_ in range(1, job.cfg.train.rounds + 1):
        adapt_to_target(job, model, round_ - 1)
        labels, memory = _clustered(job, round_, labels)
        job.folder.write_labels(
            round_, labels, domains.target_paths, domains.target_cameras
        )
        domains.target.set_labels(labels.labels)
        optimizer.state.clear()
        for epoch in round_epochs(job.cfg, round_, optimizer):
            _train(job, Embedding(model), memory, optimizer, epoch)
        score(job, model, round_, epoch + 1)
    return finish(job, model)


def _clustered(
    job: Job, round_: int, previous: PseudoLabels | None
) -> tuple[PseudoLabels, ClusterMemory]:
    engine, seed = job.engine, job.cfg.train.seed
    features = engine.target_features()
    generator = key_generator(seed, 'cluster', round_)
    labels = engine.labelling.labeller(
        features, engine.domains.target_cameras, previous, generator
    )
    means = labels.means(unit_rows(np.asarray(features, np.float64)))
    centers = torch.tensor(means, dtype=torch.float32, device=engine.device)
    return labels, ClusterMemory(centers)


def _train(
    job: Job,
    embedding: Embedding,
    memory: ClusterMemory,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> None:
    device, seed = job.engine.device, job.cfg.train.seed
    batches = target_batches(job, 'cluster_contrast', epoch)
    embedding.train()
    for step, batch in enumerate(batches):
        pids = batch['pid'].to(device)
        with seeded(key_seed(seed, 'step', epoch, step)):
            v = embedding(batch['img'].to(device))
        loss = memory.loss(v, pids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        memory.update(v.detach(), pids)

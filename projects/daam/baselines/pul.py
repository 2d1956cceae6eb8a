"""PUL, progressive unsupervised learning.

Fan, Zheng, Yan and Yang, "Unsupervised Person Re-identification: Clustering
and Fine-tuning", ACM TOMM 2018, arXiv:1705.10444. A model trained on another
data set gives features of the target; k-means groups them; images whose
feature is close to their cluster's centre (cosine above 0.85) are reliable;
with those alone, and their cluster as class, the original model is fine-tuned;
its features are the next round's.

What was unclear, and what is done here. The paper's figures and the authors'
published program differ in details; this follows the program where it is
clearer: k-means on features as they are, a cluster's centre is the image
nearest to its mean, each round fine-tunes the original weights rather than the
last round's, and the new classifier (dropout 0.5, weights of 0.001) starts
afresh. The program calls an image reliable if it is close to any centre; here
it has to be close to the centre of its own cluster, as the text has it. What
was scaled: backbone, augmentation, batch, K, rates and rounds are those of the
other rows, instead of ResNet-50 at 224 x 224, batches of 16 and 20 epochs of
the selected images; a round sees as many images as a round of the adaptation,
all of them of the target. The feature is the network's embedding f_sh rather
than its pooled map. BatchNorm is adapted before clustering and testing as in
every row.
"""

from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional as F
from yacs.config import CfgNode as CN

from baselines.loop import (
    adapt_to_target,
    build_optimizer,
    finish,
    round_epochs,
    score,
    target_epoch,
)
from torchreid_daam.job import Job, prepare
from torchreid_daam.pseudo_labels import PseudoLabels, assign
from torchreid_daam.randomness import key_generator, key_seed, seeded

THRESHOLD = 0.85
DROPOUT = 0.5
HEAD_STD = 0.001


def select_reliable(
    features: np.ndarray, centers: np.ndarray, threshold: float = THRESHOLD
) -> np.ndarray:
    """Clusters of images, -1 where the image is not reliable.

    Args:
        features: (N, D).
        centers: (K, D), means of clusters in the same space.
        threshold: of the cosine between an image and the image that is
            nearest to the mean of its cluster.

    Returns:
        (N,) int64.
    """
    labels, _ = assign(features, centers)
    nearest, _ = assign(centers, features)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    cosine = (unit * unit[nearest[labels]]).sum(axis=1)
    return np.where(cosine > threshold, labels, -1)


class Classifier(nn.Module):
    """The network with a new head for the clusters.

    Args:
        model: a DAAM without attention; in eval mode it gives f_sh.
        num_clusters: K.
        seed: of the head.
    """

    def __init__(self, model: nn.Module, num_clusters: int, seed: int) -> None:
        super().__init__()
        self.model = model
        width = model.architecture['embed_dim']
        with seeded(seed):
            self.head = nn.Linear(width, num_clusters)
            nn.init.normal_(self.head.weight, std=HEAD_STD)
            nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of images (N, 3, H, W)."""
        f_dsh, _ = self.model.separate(self.model.backbone.featuremaps(x))
        v = self.model.branch_dsh(f_dsh)
        return self.head(F.dropout(v, DROPOUT, self.training))


def run(cfg: CN) -> dict[str, Any]:
    """Trains and scores; rows of each round and ``final``."""
    job = prepare(cfg)
    model, domains = job.engine.model, job.engine.domains
    original = {k: v.clone() for k, v in model.state_dict().items()}
    epoch = 0
    for round_ in range(1, job.cfg.train.rounds + 1):
        adapt_to_target(job, model, round_ - 1)
        labels = _labels(job, round_)
        job.folder.write_labels(
            round_, labels, domains.target_paths, domains.target_cameras
        )
        domains.target.set_labels(labels.labels)
        model.load_state_dict(original)
        key = key_seed(job.cfg.train.seed, 'pul', round_)
        classifier = Classifier(model, len(labels.centers), key)
        classifier.to(next(model.parameters()).device)
        optimizer = build_optimizer(classifier, job.cfg)
        for epoch in round_epochs(job.cfg, round_, optimizer):
            _train(job, classifier, optimizer, epoch)
        score(job, model, round_, epoch + 1)
    return finish(job, model)


@torch.no_grad()
def _labels(job: Job, round_: int) -> PseudoLabels:
    model = job.engine.model.eval()
    passes = job.engine.domains.target_pass()
    device = next(model.parameters()).device
    features = torch.cat([model(x.to(device)).cpu() for x in passes]).numpy()
    generator = key_generator(job.cfg.train.seed, 'cluster', round_)
    kmeans = KMeans(
        job.cfg.pseudo_labels.num_clusters,
        n_init=1,
        random_state=int(generator.integers(2**31)),
    )
    with threadpool_limits(limits=1):
        centers = kmeans.fit(features).cluster_centers_
    labels = select_reliable(features, centers)
    weights = (labels >= 0).astype(np.float32)
    return PseudoLabels(labels, weights, centers.astype(np.float32))


def _train(
    job: Job,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> None:
    seed = job.cfg.train.seed
    device = next(classifier.parameters()).device
    classifier.train()
    for step, batch in enumerate(target_epoch(job, 'pul', epoch)):
        with seeded(key_seed(seed, 'dropout', epoch, step)):
            y = classifier(batch['img'].to(device))
        loss = F.cross_entropy(y, batch['pid'].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

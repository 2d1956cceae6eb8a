"""ARN, adaptation and re-identification network.

Li, Yang, Liu, Yeh, Du and Wang, "Adaptation and Re-Identification Network: An
Unsupervised Deep Transfer Learning Approach to Person Re-Identification", CVPR
Workshops 2018, arXiv:1804.09347. A shared encoder and a private one for each
domain split a base network's map; a decoder makes the image again from the
shared and the private part; shared and private parts are kept different; the
shared part learns identities on the source by a classifier and a contrastive
loss. No target label, weak or true, takes part.

What was unclear. The authors say themselves that their short paper has unclear
parts, and their published program, called a draft, is another variant of it:
it adds an MMD term, which is left out here since the method's description has
none; its difference loss is a dot product that has no lower bound, where here
it is the squared Frobenius norm between the parts (rows of length 1) of the
domain separation networks that ARN extends. Taken from the program: base =
all but the last stage, encoders = copies of the last stage, their sum goes to
the decoder, which makes the image (L1), squared distances per dimension with a
margin of 2, dropout 0.5 before the classifier, weights 1, 0.1, 0.1 and 0.1.
What was scaled: backbone, size, batch, augmentation and rates are those of the
other rows; it starts from their source pretraining, where the paper takes
ImageNet's weights; it sees as many images as their rounds do; the decoder is
as deep as the map is coarse, its width halves each time, and it ends linearly
since pixels here are normalised. The embedding is the pooled shared map.
BatchNorm is adapted before testing as in every row.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from yacs.config import CfgNode as CN

from baselines.loop import (
    build_optimizer,
    finish,
    round_epochs,
    score,
)
from torchreid_daam.data.paired import joint_batch
from torchreid_daam.errors import InputError
from torchreid_daam.job import prepare
from torchreid_daam.randomness import key_seed, seeded

MARGIN = 2.0
DROPOUT = 0.5
WEIGHTS = {'class': 1.0, 'contrastive': 0.1, 'rec': 0.1, 'diff': 0.1}
NARROWEST = 16


class ARN(nn.Module):
    """Base, three encoders, decoder and classifier.

    In eval mode the output is the shared embedding (N, C).

    Args:
        backbone: a ResNet-like network with ``featuremaps`` and ``layer4``;
            it is copied.
        num_classes: source identities.
        size: height and width of the images.
        seed: of decoder and classifier.

    Raises:
        InputError: if the backbone has no ``layer4``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        size: tuple[int, int],
        seed: int,
    ) -> None:
        super().__init__()
        if not hasattr(backbone, 'layer4'):
            raise InputError('model.name: ARN needs a ResNet, with a layer4')
        self.base = copy.deepcopy(backbone)
        stage = self.base.layer4
        self.base.layer4 = nn.Identity()
        self.shared = stage
        self.private_s = copy.deepcopy(stage)
        self.private_t = copy.deepcopy(stage)
        with torch.no_grad():
            was = backbone.training
            image = next(backbone.parameters()).new_zeros(1, 3, *size)
            f = backbone.eval().featuremaps(image)
            backbone.train(was)
        with seeded(seed):
            self.decoder = _decoder(f.shape[1], f.shape[2], size)
            self.classifier = nn.Linear(f.shape[1], num_classes)

    def forward(self, x: torch.Tensor, is_source: torch.Tensor | None = None):
        """Eval: (N, C). Training: see :meth:`parts`."""
        if self.training:
            return self.parts(x, is_source)
        return _pooled(self.shared(self.base.featuremaps(x)))

    def parts(self, x: torch.Tensor, is_source: torch.Tensor):
        """Shared (N, C), private (N, C), images again, source logits."""
        f = self.base.featuremaps(x)
        common = self.shared(f)
        own = torch.empty_like(common)
        own[is_source] = self.private_s(f[is_source])
        own[~is_source] = self.private_t(f[~is_source])
        again = F.interpolate(self.decoder(common + own), x.shape[2:])
        v = _pooled(common)
        y = self.classifier(F.dropout(v[is_source], DROPOUT, self.training))
        return v, _pooled(own), again, y


def _pooled(f: torch.Tensor) -> torch.Tensor:
    return f.mean(dim=(2, 3))


def _decoder(channels: int, rows: int, size: tuple[int, int]) -> nn.Module:
    layers: list[nn.Module] = []
    while rows < size[0]:
        narrow = max(NARROWEST, channels // 2)
        layers += [
            nn.ConvTranspose2d(channels, narrow, 4, stride=2, padding=1),
            nn.BatchNorm2d(narrow),
            nn.LeakyReLU(0.2),
        ]
        channels, rows = narrow, 2 * rows
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1))


def contrastive_loss(
    v: torch.Tensor, pids: torch.Tensor, margin: float = MARGIN
) -> torch.Tensor:
    """Mean over pairs of d, or of max(0, margin - d) for two persons.

    Args:
        v: embeddings (N, D); d is their squared distance / D.
        pids: identities (N,).
        margin: how far apart two persons have to be.
    """
    first, second = torch.triu_indices(len(v), len(v), 1, device=v.device)
    d = (v[first] - v[second]).square().mean(dim=1)
    same = pids[first] == pids[second]
    return torch.where(same, d, F.relu(margin - d)).mean()


def difference_loss(common: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """``|A^T B|_F^2 / N^2`` with the rows of A and B of length 1, in [0, 1].

    Args:
        common: shared parts (N, D).
        own: private parts (N, D).
    """
    a, b = F.normalize(common, dim=1), F.normalize(own, dim=1)
    return (a.T @ b).square().sum() / len(a) ** 2


def losses(
    output: tuple[torch.Tensor, ...],
    imgs: torch.Tensor,
    is_source: torch.Tensor,
    pids: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """The four terms by name, unweighted.

    Args:
        output: of :meth:`ARN.parts`.
        imgs: (N, 3, H, W).
        is_source: (N,) bool.
        pids: of the source rows.
    """
    v, own, again, y = output
    diff = [difference_loss(v[d], own[d]) for d in (is_source, ~is_source)]
    return {
        'class': F.cross_entropy(y, pids),
        'contrastive': contrastive_loss(v[is_source], pids),
        'rec': F.l1_loss(again, imgs),
        'diff': diff[0] + diff[1],
    }


def run(cfg: CN) -> dict[str, Any]:
    """Trains and scores; rows of each round's end and ``final``."""
    job = prepare(cfg)
    cfg, domains = job.cfg, job.engine.domains
    start, seed = job.engine.model, cfg.train.seed
    device = next(start.parameters()).device
    size = (cfg.data.height, cfg.data.width)
    classes = len(set(domains.source.labels.tolist()))
    key = key_seed(seed, 'arn')
    model = ARN(start.backbone, classes, size, key).to(device)
    # The paired loader wants labels; nothing looks at them.
    count = len(domains.target_items)
    domains.target.set_labels([0] * count, [1.0] * count)
    optimizer = build_optimizer(model, cfg)
    epoch = 0
    for round_ in range(1, cfg.train.rounds + 1):
        for epoch in round_epochs(cfg, round_, optimizer):
            domains.adaptation.set_epoch('arn', epoch)
            model.train()
            for step, data in enumerate(domains.adaptation):
                imgs, batch = joint_batch(data, device)
                is_source, pids = batch['is_source'], batch['pid_s']
                with seeded(key_seed(seed, 'dropout', epoch, step)):
                    output = model(imgs, is_source)
                terms = losses(output, imgs, is_source, pids)
                loss = sum(WEIGHTS[k] * term for k, term in terms.items())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        score(job, model, round_, epoch + 1)
    return finish(job, model)

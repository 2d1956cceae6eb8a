"""torchreid's engine as far as it looks at images without training."""

import contextlib
from typing import Any

import numpy as np
import torch
import torchreid
from torch import nn

from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.data.domains import Domains
from torchreid_daam.evaluation.ranks import Ranks, recorded_ranks
from torchreid_daam.randomness import key_generator
from torchreid_daam.runs.checkpoint import unwrapped
from torchreid_daam.runs.folder import RunFolder

BN_BATCH = 64


class EvaluatingEngine(torchreid.engine.Engine):
    """Features, BatchNorm statistics and ranks of a model on the target.

    Args:
        datamanager: torchreid's.
        model: gives embeddings in eval mode; or one in DataParallel.
        domains: the same data in canonical order.
        use_gpu: as in torchreid.
        averager: None, or an object with ``applied(model)``, a context in
            which the model holds averaged weights.
        adapt_bn: whether :meth:`adapt_batch_norm` does anything.
        seed: of all keyed randomness.
        folder: where rows go.

    ``evaluator`` may be set to ``torchreid``: see ``recorded_ranks``.
    """

    evaluator = 'chunked'

    def __init__(
        self,
        datamanager: Any,
        model: nn.Module,
        domains: Domains,
        use_gpu: bool = True,
        *,
        averager: Any = None,
        adapt_bn: bool = True,
        seed: int = 1,
        folder: RunFolder | None = None,
    ) -> None:
        super().__init__(datamanager, use_gpu)
        self.model = model
        self.domains = domains
        self.averager = averager
        self.adapt_bn = adapt_bn
        self.seed = seed
        self.folder = folder
        self.test_loader = domains.test_loaders()
        self.scores: dict[str, Ranks] = {}

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def averaged(self) -> contextlib.AbstractContextManager:
        """Within it the model holds the averaged weights, if any."""
        if self.averager is None:
            return contextlib.nullcontext()
        return self.averager.applied(unwrapped(self.model))

    def extract_features(self, input: torch.Tensor) -> torch.Tensor:
        """f_sh (N, D) of images on any device."""
        return self.model(input.to(self.device))

    @torch.no_grad()
    def target_features(self) -> np.ndarray:
        """f_sh (N, D) of the un-augmented target training images."""
        self.set_model_mode('eval')
        with self.averaged():
            features = [
                self.extract_features(imgs).cpu()
                for imgs in self.domains.target_pass()
            ]
        return torch.cat(features).float().numpy()

    def adapt_batch_norm(self, finished: int, epoch: int) -> None:
        """Re-estimates the statistics on the target's training images.

        Args:
            finished: rounds; with ``epoch`` it keys the order of images.
            epoch: epochs of the round after them.
        """
        if not self.adapt_bn:
            return
        generator = key_generator(self.seed, 'batch_norm', finished, epoch)
        batches = self.domains.shuffled_target_pass(BN_BATCH, generator)
        self.set_model_mode('eval')
        with self.averaged():
            adapt_batch_norm(
                self.model, (imgs.to(self.device) for imgs in batches)
            )

    def scored_test(self, *args: Any, **kwargs: Any) -> float:
        """torchreid's test, whose ranks are kept in ``scores``.

        Returns:
            Rank 1 of the last test set; 0 where no target has labels.
        """
        if not self.test_loader:
            return 0.0
        with self.averaged(), recorded_ranks(self.evaluator) as collected:
            rank1 = super().test(*args, **kwargs)
        self.scores = dict(zip(self.test_loader, collected, strict=True))
        return float(rank1)

    def rank1(self) -> float:
        """Rank 1 of the last test set, as torchreid's test returns it.

        0 where nothing was scored.
        """
        if not self.scores:
            return 0.0
        return float(list(self.scores.values())[-1].cmc[0])

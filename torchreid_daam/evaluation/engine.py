"""torchreid's engine as far as it looks at images without training."""

import contextlib
import logging
import time
from typing import Any

import numpy as np
import torch
import torchreid
from torch import nn

from torchreid_daam import distributed
from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.costs import extraction_cost
from torchreid_daam.data.domains import Domains
from torchreid_daam.evaluation.distances import blocked_distances
from torchreid_daam.evaluation.ranks import Ranks, recorded_ranks
from torchreid_daam.randomness import key_generator
from torchreid_daam.runs.checkpoint import unwrapped
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.state import averaged

logger = logging.getLogger('torchreid_daam')
_whole = contextlib.nullcontext
BN_BATCH = 64
# What torchreid's run hands on to each test.
TEST_OPTIONS = (
    'dist_metric',
    'normalize_feature',
    'use_metric_cuhk03',
    'ranks',
)


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
        self._test_options: dict[str, Any] = {}
        self._seconds = 0.0  # of the last test

    def run(self, save_dir: str = 'log', **options: Any) -> None:
        """torchreid's run, whose options each test of ours gets too."""
        self._test_options = {
            name: options[name] for name in TEST_OPTIONS if name in options
        }
        super().run(save_dir=save_dir, **options)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def averaged(self) -> contextlib.AbstractContextManager:
        """Within it the model holds the averaged weights, if any."""
        return averaged(self.model, self.averager)

    def extract_features(self, input: torch.Tensor) -> torch.Tensor:
        """f_sh (N, D) of images on any device: torchreid's hook.

        Of several processes each computes a share; the answer is whole.
        """
        if distributed.size() == 1:
            return self.model(input.to(self.device))
        own = distributed.share(input)
        # Some layers don't take an empty batch.
        features = self.model((own if len(own) else input[:1]).to(self.device))
        return distributed.gathered(features[: len(own)], len(input))

    @torch.no_grad()
    def target_features(self) -> np.ndarray:
        """f_sh (N, D) of the un-augmented target training images."""
        self.set_model_mode('eval')
        self._announce()
        with self.averaged():
            features = [
                self.model(imgs.to(self.device)).cpu()
                for imgs in self.domains.target_pass()
            ]
        number = len(self.domains.target_items)
        found = distributed.gathered(torch.cat(features), number)
        return found.float().numpy()

    def _announce(self) -> None:
        """Says what extracting the target's features will take."""
        images = len(self.domains.target_items)
        told = f'features of {images} target images'
        tested = sum(
            len(splits[part].dataset)
            for splits in self.test_loader.values()
            for part in ('query', 'gallery')
        )
        if not (self._seconds and tested):
            logger.info('%s', told)
            return
        # As long for an image as the test before took, its ranks included.
        size = unwrapped(self.model).architecture['embed_dim']
        cost = extraction_cost(images, size, self._seconds / tested)
        logger.info('%s: %s', told, cost)

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

    def test(self, *args: Any, **kwargs: Any) -> float:
        """A test by itself, with the statistics as they are."""
        rank1 = self.scored_test(*args, **kwargs)
        if self.folder is not None:
            self.folder.add_rows('final', 0, 0, self.scores)
        return rank1

    def scored_test(self, *args: Any, **kwargs: Any) -> float:
        """torchreid's test, whose ranks are kept in ``scores``.

        Returns:
            Rank 1 of the last test set; 0 where no target has labels.
        """
        if not self.test_loader:
            return 0.0
        rows_alone = self.evaluator == 'chunked' and not (
            kwargs.get('visrank') or kwargs.get('use_metric_cuhk03')
        )
        rerank = bool(kwargs.get('rerank'))
        blocks = blocked_distances(rerank) if rows_alone else _whole()
        started = time.monotonic()
        with (
            self.averaged(),
            blocks,
            recorded_ranks(self.evaluator) as collected,
        ):
            rank1 = super().test(*args, **kwargs)
        self._seconds = time.monotonic() - started
        self.scores = dict(zip(self.test_loader, collected, strict=True))
        return float(rank1)

    def rank1(self) -> float:
        """Rank 1 of the last test set, as torchreid's test returns it.

        0 where nothing was scored.
        """
        if not self.scores:
            return 0.0
        return float(list(self.scores.values())[-1].cmc[0])

    def mean_ap(self) -> float:
        """Mean average precision over the test sets."""
        return float(np.mean([r.mean_ap for r in self.scores.values()]))

    def record(self, stage: str, round_: int, done: int) -> None:
        """Scores the model of now and adds the rows.

        Args:
            stage: one of ``results.STAGES``.
            round_: rounds finished.
            done: epochs finished.
        """
        self.scored_test(**self._test_options)
        self.folder.add_rows(stage, round_, done, self.scores)

    def try_adabn(self, done: int) -> None:
        """Adds AdaBN's rows; the model keeps the source's statistics.

        Without rounds the run's product is the source model, from which a
        later run starts.
        """
        if not self.adapt_bn:
            return
        scores, model = self.scores, unwrapped(self.model)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        self.adapt_batch_norm(0, 0)
        self.record('adabn', 0, done)
        model.load_state_dict(state)
        self.scores = scores

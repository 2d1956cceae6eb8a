"""Algorithm 1 of arXiv:1905.10529 on torchreid's engine.

One flat epoch axis: ``[0, pretrain_epoch)`` is line 1, then each round of
``round_epoch`` epochs is one iteration of lines 2 to 6. The engine gets its
labeller, samplers, loss terms and averager as objects and knows none of them
by name.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchreid
from torch import nn

from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.data.domains import Domains
from torchreid_daam.data.paired import joint_batch
from torchreid_daam.data.samplers import Order, random_order
from torchreid_daam.evaluation.health import round_figures
from torchreid_daam.evaluation.ranks import Ranks, recorded_ranks
from torchreid_daam.evaluation.selection import Selector, health_score
from torchreid_daam.pseudo_labels import (
    PseudoLabels,
    agreement,
)
from torchreid_daam.randomness import key_generator, key_seed
from torchreid_daam.runs.checkpoint import (
    load_training_state,
    training_state,
    unwrapped,
)
from torchreid_daam.runs.folder import RunFolder

logger = logging.getLogger('torchreid_daam')
BN_BATCH = 64
TEST_OPTIONS = (
    'dist_metric',
    'normalize_feature',
    'use_metric_cuhk03',
    'ranks',
)


class _Converged(Exception):
    """Successive labels agree; no further round is trained."""


class ImageDAAMEngine(torchreid.engine.Engine):
    """Adapts a model built with ``loss='daam'``.

    Args:
        datamanager: torchreid's, with ``load_train_targets=True``.
        model: a :class:`~torchreid_daam.model.DAAM`, or one in DataParallel.
        optimizer: built on the model, its K-way head included.
        scheduler: stepped once an epoch; see ``optim``.
        use_gpu: as in torchreid.
        pretrain_epoch: epochs on the source alone.
        rounds: iterations of Algorithm 1.
        round_epoch: epochs of each.
        labeller: ``(features, cameras, previous, generator) ->
            PseudoLabels``, such as ``KMeansLabeller``.
        sampler: ``(labels, cameras, generator) -> indices`` of the target.
        sampler_s: the same for the source.
        terms: ``(output, batch) -> {name: scalar}`` with ``total(terms)``,
            such as ``DAAMLoss``.
        averager: None, or an object with ``update(model)`` after each step
            and ``applied(model)``, a context in which the model holds the
            averaged weights, for clustering, testing and saving. It swaps
            parameters only, never buffers: BatchNorm statistics are
            estimated while it is applied.
        epoch_length: ``max``, ``source`` or ``target``.
        stop_agreement: adjusted Rand index between successive labels above
            which rounds end; 0 trains all of them. The paper's "stopping
            criterion" is not given.
        adapt_bn: re-estimate BatchNorm statistics on the target before
            clustering and testing.
        head_init: the K-way head starts each round at ``random`` or at the
            ``centers`` of the clusters.
        seed: of all keyed randomness.
        persistent_workers: keep loading processes from epoch to epoch.
        observer: None, or ``(round, model, domains, features, labels,
            previous) -> {name: figure}``, which only looks; see
            :class:`~torchreid_daam.evaluation.probe.Observer`.
        selector: which round's model becomes ``selected.pth``; see
            :class:`~torchreid_daam.evaluation.selection.Selector`.
        folder: where rows, labels and checkpoints go; by default the
            ``save_dir`` of :meth:`run`.

    Raises:
        ValueError: if there are rounds and no target training images.
    """

    def __init__(
        self,
        datamanager: Any,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any = None,
        use_gpu: bool = True,
        *,
        labeller: Callable[..., PseudoLabels],
        terms: Callable,
        pretrain_epoch: int = 60,
        rounds: int = 7,
        round_epoch: int = 200,
        sampler: Order = random_order,
        sampler_s: Order = random_order,
        averager: Any = None,
        epoch_length: str = 'max',
        stop_agreement: float = 0.0,
        adapt_bn: bool = True,
        head_init: str = 'random',
        seed: int = 1,
        persistent_workers: bool = False,
        observer: Callable[..., dict[str, Any]] | None = None,
        selector: Selector | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        super().__init__(datamanager, use_gpu)
        self.model, self.optimizer = model, optimizer
        self.scheduler = scheduler
        self.register_model('model', model, optimizer, scheduler)
        self.pretrain_epoch, self.rounds = pretrain_epoch, rounds
        self.round_epoch = round_epoch
        self.labeller = labeller
        self.terms = terms
        self.averager = averager
        self.observer = observer
        self.selector = selector or Selector()
        self.stop_agreement = stop_agreement
        self.adapt_bn = adapt_bn
        self.head_init = head_init
        self.seed = seed
        self.folder = folder
        self.domains = Domains(
            datamanager,
            {'source': sampler_s, 'target': sampler},
            seed,
            epoch_length,
            persistent_workers,
        )
        if rounds and self.domains.target is None:
            raise ValueError('rounds need load_train_targets=True')
        self.test_loader = self.domains.test_loaders()
        self.labels: PseudoLabels | None = None
        self.scores: dict[str, Ranks] = {}
        self._test_options: dict[str, Any] = {}
        self._running = False
        self._recorded_at = -1

    @property
    def num_epochs(self) -> int:
        """Length of the flat epoch axis."""
        return self.pretrain_epoch + self.rounds * self.round_epoch

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    # The run, on torchreid's loop

    def run(
        self, save_dir: str = 'log', start_epoch: int = 0, **options: Any
    ) -> None:
        """Runs pretraining and rounds, or with ``test_only`` a test.

        The options are those of torchreid's ``Engine.run``; ``max_epoch``
        is :attr:`num_epochs` here, whatever is given.
        """
        if self.folder is None:
            self.folder = RunFolder(save_dir)
        options['max_epoch'] = self.num_epochs
        self._test_options = {
            name: options[name] for name in TEST_OPTIONS if name in options
        }
        if options.get('test_only'):
            super().run(save_dir=save_dir, **options)
            return
        if start_epoch >= self.num_epochs:
            logger.info('nothing left to train after epoch %d', start_epoch)
            return
        self._running = True
        try:
            if start_epoch == self.pretrain_epoch == 0:
                self._record('direct', 0, 0)
            super().run(save_dir=save_dir, start_epoch=start_epoch, **options)
        except _Converged as converged:
            logger.info('%s', converged)
            if not self.scores:  # resumed where the rounds had ended
                self._scored_test(**self._test_options)
            finished, _ = self._finished(self.epoch)
            self.folder.add_rows('final', finished, self.epoch, self.scores)
            self.save_model(self.epoch - 1, self._rank1(), save_dir)
            self.writer.close()
        finally:
            self._running = False

    def train(
        self,
        print_freq: int = 10,
        fixbase_epoch: int = 0,
        open_layers: Any = None,
    ) -> None:
        """One epoch; the first of a round begins with fresh labels."""
        finished, epoch = self._finished(self.epoch)
        if self.epoch < self.pretrain_epoch:
            self.train_loader = self.domains.pretraining
            self.train_loader.set_epoch('pretrain', 0, self.epoch)
        else:
            if epoch == 0:
                self._begin_round(finished + 1)
            self.train_loader = self.domains.adaptation
            self.train_loader.set_epoch('adapt', finished + 1, epoch)
        super().train(print_freq, fixbase_epoch, open_layers)
        if self.epoch + 1 < self.num_epochs:  # else the final test follows
            self._close_stage(self.epoch + 1)

    def _finished(self, done: int) -> tuple[int, int]:
        """Finished rounds after ``done`` epochs, and epochs of the next."""
        return divmod(max(0, done - self.pretrain_epoch), self.round_epoch)

    def _close_stage(self, done: int) -> None:
        """Scores and saves where pretraining or a round ends."""
        finished, epoch = self._finished(done)
        if done == self.pretrain_epoch:
            self._record('direct', 0, done)
        elif done > self.pretrain_epoch and epoch == 0:
            self._adapt_batch_norm(finished, 0)
            self._record('round', finished, done)
        else:
            return
        self.save_model(self.epoch, self._rank1(), self.folder.path)

    # Lines 3 to 5 of Algorithm 1

    def _begin_round(self, round_: int) -> None:
        if round_ == 1 and self.adapt_bn:
            self._adapt_batch_norm(0, 0)
            self._record('adabn', 0, self.epoch)
        features = self._target_features()
        generator = key_generator(self.seed, 'cluster', round_)
        cameras = self.domains.target_cameras
        previous = self.labels
        labels = self.labeller(features, cameras, previous, generator)
        self._stop_if_settled(round_, labels, previous)
        self.labels = labels
        self.folder.write_labels(
            round_, self.labels, self.domains.target_paths, cameras
        )
        self.folder.write_round(
            round_,
            {'epoch': self.epoch, **self._figures(round_, features, previous)},
        )
        self._restart(round_, features)

    def _figures(
        self, round_: int, features: np.ndarray, previous: PseudoLabels | None
    ) -> dict[str, Any]:
        if self.observer is None:
            return round_figures(self.labels, previous)
        with self._averaged():
            figures = self.observer(
                round_,
                self.model,
                self.domains,
                features,
                self.labels,
                previous,
            )
        for name, value in figures.items():
            if isinstance(value, int | float):
                self.writer.add_scalar(f'Health/{name}', value, round_)
        return figures

    def _restart(self, round_: int, features: np.ndarray) -> None:
        """A round starts with its labels, a new head and no momentum."""
        self.domains.target.set_labels(self.labels.labels, self.labels.weights)
        centers = None
        if self.head_init == 'centers':
            centers = torch.as_tensor(self.labels.means(features))
        unwrapped(self.model).set_num_clusters(
            len(self.labels.centers),
            key_seed(self.seed, 'head', round_),
            centers,
        )
        self.optimizer.state.clear()

    def _stop_if_settled(
        self,
        round_: int,
        labels: PseudoLabels,
        previous: PseudoLabels | None,
    ) -> None:
        if previous is None or not self.stop_agreement:
            return
        score = agreement(labels.labels, previous.labels)
        if score > self.stop_agreement:
            raise _Converged(
                f'labels of round {round_} agree with those before '
                f'(adjusted Rand index {score:.3f}); rounds end'
            )

    @torch.no_grad()
    def _target_features(self) -> np.ndarray:
        """f_sh (N, D) of the un-augmented target training images."""
        self.set_model_mode('eval')
        with self._averaged():
            features = [
                self.extract_features(imgs).cpu()
                for imgs in self.domains.target_pass()
            ]
        return torch.cat(features).float().numpy()

    def _adapt_batch_norm(self, finished: int, epoch: int) -> None:
        if not self.adapt_bn:
            return
        generator = key_generator(self.seed, 'batch_norm', finished, epoch)
        batches = self.domains.shuffled_target_pass(BN_BATCH, generator)
        self.set_model_mode('eval')
        with self._averaged():
            adapt_batch_norm(
                self.model, (imgs.to(self._device) for imgs in batches)
            )

    # One step

    def forward_backward(self, data: dict[str, dict]) -> dict[str, float]:
        """One step on a batch of the source or of both domains."""
        imgs, batch = joint_batch(data, self._device)
        if 'target' in data:
            batch['progress'] = self._progress()
        output = self.model(imgs)
        terms = self.terms(output, batch)
        loss = self.terms.total(terms)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.averager is not None:
            self.averager.update(unwrapped(self.model))
        # One dict for the sum and for the log, one trip from the device.
        values = torch.stack([loss, *terms.values()]).tolist()
        return dict(zip(('loss', *terms), values, strict=True))

    def _progress(self) -> float:
        """Share of the adaptation done, for terms that warm up."""
        done = self.epoch + self.batch_idx / self.num_batches
        return (done - self.pretrain_epoch) / (self.rounds * self.round_epoch)

    # Testing, and what is kept

    def extract_features(self, input: torch.Tensor) -> torch.Tensor:
        """f_sh (N, D) of images on any device."""
        return self.model(input.to(self._device))

    def test(self, *args: Any, **kwargs: Any) -> float:
        """torchreid's test; within a run, with the target's statistics.

        A ``test_only`` run takes the statistics as they are.
        """
        if not self._running:
            rank1 = self._scored_test(*args, **kwargs)
            if self.folder is not None:
                self.folder.add_rows('final', 0, 0, self.scores)
            return rank1
        done = self.epoch + 1
        if done == self._recorded_at:
            return self._rank1()
        if done > self.pretrain_epoch:
            self._adapt_batch_norm(*self._finished(done))
        rank1 = self._scored_test(*args, **kwargs)
        if done == self.num_epochs:
            self._add_last_rows(done)
        return rank1

    def _scored_test(self, *args: Any, **kwargs: Any) -> float:
        if not self.test_loader:  # no target has labels
            return 0.0
        with self._averaged(), recorded_ranks() as collected:
            rank1 = super().test(*args, **kwargs)
        self.scores = dict(zip(self.test_loader, collected, strict=True))
        return float(rank1)

    def _rank1(self) -> float:
        if not self.scores:
            return 0.0
        return float(list(self.scores.values())[-1].cmc[0])

    def _record(self, stage: str, round_: int, done: int) -> None:
        self._scored_test(**self._test_options)
        self.folder.add_rows(stage, round_, done, self.scores)
        self._recorded_at = done

    def _add_last_rows(self, done: int) -> None:
        add = self.folder.add_rows
        if self.rounds:
            add('round', self.rounds, done, self.scores)
        else:
            add('direct', 0, done, self.scores)
            self._add_adabn_rows(done)
        add('final', self.rounds, done, self.scores)

    def _add_adabn_rows(self, done: int) -> None:
        """Scores AdaBN on a model that keeps the source's statistics.

        Without rounds the run's product is the source model, from which a
        later run starts.
        """
        if not self.adapt_bn:
            return
        scores, model = self.scores, unwrapped(self.model)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        self._adapt_batch_norm(0, 0)
        self._record('adabn', 0, done)
        model.load_state_dict(state)
        self.scores = scores

    def save_model(
        self, epoch: int, rank1: float, save_dir: str, is_best: bool = False
    ) -> None:
        """Writes the run's checkpoints, torchreid's keys and ours.

        ``last`` is what a resumed run goes on from, ``selected`` what
        the selector chose.
        """
        done = epoch + 1
        finished, begun = self._finished(done)
        ends = done >= self.pretrain_epoch and begun == 0
        chosen = ends and self.selector.offer(finished, self._round_score)
        state = training_state(
            unwrapped(self.model), self.optimizer, self.scheduler
        )
        state.update(
            epoch=epoch + 1,
            # torchreid saves a numpy scalar, which can't be read back.
            rank1=self._rank1() if self.scores else float(rank1),
            rows=self.folder.results.rows,
            round_scores=self.selector.scores,
        )
        if self.labels is not None:
            state['pseudo_labels'] = self.labels.as_tensors()
        self.folder.write_checkpoint(state, 'last')
        if not chosen:
            return  # in the middle of a stage, or an earlier round is better
        with self._averaged():
            state['state_dict'] = unwrapped(self.model).state_dict()
            self.folder.write_checkpoint(state, 'selected')

    def _round_score(self) -> float:
        """What the selector ranks the model of now by."""
        if self.selector.rule == 'target_map':
            ranks = self.scores.values()
            return float(np.mean([r.mean_ap for r in ranks]))
        features = self._target_features()
        cameras = self.domains.target_cameras
        generator = key_generator(self.seed, 'select', self.epoch)
        labels = self.labeller(features, cameras, self.labels, generator)
        return health_score(features, labels.labels, cameras, generator)

    def resume(self, state: dict[str, Any]) -> int:
        """Takes over a checkpoint; returns the epoch to go on from.

        Args:
            state: what :meth:`save_model` wrote.
        """
        load_training_state(
            state, unwrapped(self.model), self.optimizer, self.scheduler
        )
        self.folder.results.restore(state.get('rows', []))
        self.selector.scores = dict(state.get('round_scores', {}))
        if 'pseudo_labels' in state and self.domains.target is not None:
            self.labels = PseudoLabels.from_tensors(state['pseudo_labels'])
            there, here = len(self.labels.labels), self.domains.target_items
            if there != len(here):
                raise ValueError(
                    f'labels of {there} target images, {len(here)} are here'
                )
            self.domains.target.set_labels(
                self.labels.labels, self.labels.weights
            )
        return state['epoch']

    def _averaged(self) -> contextlib.AbstractContextManager:
        """Within it the model holds the averaged weights, if any."""
        if self.averager is None:
            return contextlib.nullcontext()
        return self.averager.applied(unwrapped(self.model))

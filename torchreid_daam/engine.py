"""Algorithm 1 of arXiv:1905.10529 on torchreid's engine.

The engine says what comes when; what it is made of does the work: ``Epochs``
is the flat axis of epochs, ``Step`` one step, ``Labelling`` what begins a
round, ``TrainingState`` what is saved. Labeller, samplers, loss terms,
averager, selector and observer are objects that it gets and doesn't know by
name.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torchreid_daam.data.domains import Domains
from torchreid_daam.data.samplers import Order, random_order
from torchreid_daam.epochs import Epochs
from torchreid_daam.evaluation.engine import EvaluatingEngine
from torchreid_daam.evaluation.selection import Selector
from torchreid_daam.guards import StepGuard
from torchreid_daam.labelling import Converged, Labelling
from torchreid_daam.precision import Precision
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.runs.events import Events
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.keeper import Keeper, WholeEpoch
from torchreid_daam.runs.state import TrainingState
from torchreid_daam.step import Step, joint_forward

logger = logging.getLogger('torchreid_daam')


class ImageDAAMEngine(EvaluatingEngine):
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
        averager: None, or an object with ``update(model)`` after each step,
            ``restart(model)`` before the first one of a round,
            ``applied(model)``, a context in which the model holds the
            averaged weights, for clustering, testing and saving,
            ``targets(model, imgs, batch, forward)``, what terms find in a
            batch beside the labels, and ``state_dict`` /
            ``load_state_dict``. With ``adapt_bn`` it swaps parameters only,
            never buffers: BatchNorm statistics are estimated while it is
            applied.
        forward: ``(model, imgs, batch)``, the outputs of a joint batch.
        guard: looks at each step's loss; see ``guards``.
        precision: how a step computes; see ``precision``.
        epoch_length: ``max``, ``source``, ``target`` or a number.
        stop_agreement: adjusted Rand index between successive labels above
            which rounds end; 0 trains all of them. The paper's "stopping
            criterion" is not given.
        adapt_bn: re-estimate BatchNorm statistics on the target before
            clustering and testing.
        head_init: the K-way head starts each round at ``random`` or at the
            ``centers`` of the clusters.
        seed: of all keyed randomness.
        persistent_workers: keep loading processes from epoch to epoch.
        cache: ``ram`` keeps decoded images in memory.
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

    batch_idx = WholeEpoch()
    num_batches = WholeEpoch()

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
        guard: StepGuard | None = None,
        precision: Precision | None = None,
        forward: Callable = joint_forward,
        epoch_length: str = 'max',
        stop_agreement: float = 0.0,
        adapt_bn: bool = True,
        head_init: str = 'random',
        seed: int = 1,
        persistent_workers: bool = False,
        cache: str = 'none',
        observer: Callable[..., dict[str, Any]] | None = None,
        selector: Selector | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        orders = {'source': sampler_s, 'target': sampler}
        domains = Domains(
            datamanager, orders, seed, epoch_length, persistent_workers, cache
        )
        super().__init__(
            datamanager,
            model,
            domains,
            use_gpu,
            averager=averager,
            adapt_bn=adapt_bn,
            seed=seed,
            folder=folder,
        )
        if rounds and domains.target is None:
            raise ValueError('rounds need load_train_targets=True')
        self.register_model('model', model, optimizer, scheduler)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.epochs = epochs = Epochs(pretrain_epoch, rounds, round_epoch)
        rest = (guard, averager, precision, forward)
        self.step = Step(model, optimizer, terms, epochs, seed, *rest)
        self.labelling = Labelling(
            model, domains, labeller, seed, observer, stop_agreement, head_init
        )
        self.selector = selector or Selector()
        self.keeper = Keeper(
            TrainingState(self.step, scheduler, self.labelling, self.selector),
            epochs,
            self._round_score,
        )

    # The run, on torchreid's loop

    def run(
        self, save_dir: str = 'log', start_epoch: int = 0, **options: Any
    ) -> None:
        """Runs pretraining and rounds, or with ``test_only`` a test.

        The options are those of torchreid's ``Engine.run``; ``max_epoch``
        is that of :attr:`epochs` here, whatever is given.
        """
        if self.folder is None:
            self.folder = RunFolder(save_dir)
        options.update(start_epoch=start_epoch, max_epoch=self.epochs.total)
        if options.get('test_only'):
            super().run(save_dir, **options)
            return
        if self.complete:
            logger.info('the run is complete: nothing is left to train')
            return
        self.epoch = start_epoch - 1  # where only the last test is left
        self.writer = Events(save_dir, lambda: self.step.trained)
        self.folder.events = self.writer
        with self.keeper.run(self.folder):
            try:
                super().run(save_dir, **options)
            except Converged as converged:
                logger.info('%s', converged)
                self._end_early(self.epoch)

    def _end_early(self, done: int) -> None:
        """What torchreid's run does after its last epoch."""
        if not self.scores:  # resumed where the rounds had ended
            self.scored_test(**self._test_options)
        finished, _ = self.epochs.finished(done)
        self.folder.add_rows('final', finished, done, self.scores)
        self.keeper.save(done, complete=True)
        self.writer.close()

    def train(
        self,
        print_freq: int = 10,
        fixbase_epoch: int = 0,
        open_layers: Any = None,
    ) -> None:
        """One epoch; the first of a round begins with fresh labels."""
        self._close_stage(self.epoch)
        stage = self.epochs.stage(self.epoch)
        if stage.round == 0:
            self.train_loader = self.domains.pretraining
        else:
            if stage.round != self.labelling.round:
                self._begin_round(stage.round)
            self.train_loader = self.domains.adaptation
        self.train_loader.set_epoch(*stage, skip=self.keeper.skip)
        with self.keeper.epoch():
            super().train(print_freq, fixbase_epoch, open_layers)
        self.keeper.ended(self.epoch + 1)

    def _close_stage(self, done: int) -> None:
        """Scores and saves where pretraining or a round has ended."""
        if not self.epochs.ends_stage(done) or self.keeper.recorded_at == done:
            return
        finished, _ = self.epochs.finished(done)
        if finished:
            self.adapt_batch_norm(finished, 0)
        self.record('round' if finished else 'direct', finished, done)
        self.keeper.recorded_at = done
        self.keeper.save(done)

    def _begin_round(self, round_: int) -> None:
        """Lines 3 to 5 of Algorithm 1."""
        if round_ == 1 and self.adapt_bn:
            self.adapt_batch_norm(0, 0)
            self.record('adabn', 0, self.epoch)
        features = self.target_features()
        with self.averaged():
            self.labelling.begin(
                round_, features, self.epoch, self.folder, self.writer
            )
        self._restart(features)

    def _restart(self, features: np.ndarray) -> None:
        """A round starts with a new head and no momentum."""
        self.labelling.start_head(features)
        self.step.restart()

    # One step

    def forward_backward(
        self, data: dict[str, dict[str, Any]]
    ) -> dict[str, float]:
        """One step on a batch of the source or of both domains.

        Raises:
            RunFailed: if the loss is not finite; see ``guards``.
        """
        number = self.batch_idx
        self.keeper.heed(self.epoch, number)
        values = self.step(
            data, self.outputs, self.epoch, number, self.num_batches
        )
        self.keeper.stepped(self.epoch, number + 1)
        return values

    def outputs(self, imgs: torch.Tensor, batch: dict[str, Any]) -> Any:
        """What the model says about a joint batch.

        Args:
            imgs: (N, C, H, W).
            batch: see ``joint_batch``.
        """
        return self.step.forward(self.model, imgs, batch)

    # Testing, and what is kept

    def test(self, *args: Any, **kwargs: Any) -> float:
        """torchreid's test; within a run, with the target's statistics.

        A ``test_only`` run takes the statistics as they are.
        """
        if not self.keeper.running:
            return super().test(*args, **kwargs)
        done, total = self.epoch + 1, self.epochs.total
        if done < total and self.epochs.ends_stage(done):
            self._close_stage(done)
            return self.rank1()
        if done > self.epochs.pretrain_epoch:
            self.adapt_batch_norm(*self.epochs.finished(done))
        rank1 = self.scored_test(*args, **kwargs)
        if done == total:
            self._add_last_rows(self.epochs.rounds, done)
        return rank1

    def _add_last_rows(self, rounds: int, done: int) -> None:
        stage = 'round' if rounds else 'direct'
        self.folder.add_rows(stage, rounds, done, self.scores)
        if not rounds:
            self.try_adabn(done)
        self.folder.add_rows('final', rounds, done, self.scores)

    def save_model(
        self, epoch: int, rank1: float, save_dir: str, is_best: bool = False
    ) -> None:
        """torchreid's hook after a test."""
        done = epoch + 1
        self.keeper.save(done, complete=done == self.epochs.total)

    def _round_score(self) -> float:
        """What the selector ranks the model of now by.

        It is keyed by the rounds that are finished, so a stage that is
        closed again gets the same score.
        """
        if self.selector.rule == 'target_map':
            return self.mean_ap()
        return self.labelling.health(self.target_features())

    def resume(self, state: Mapping[str, Any]) -> int:
        """Takes over a checkpoint; returns the epoch to go on from.

        Args:
            state: what an earlier run wrote.

        Raises:
            KeyError, RuntimeError, ValueError: if it is of another run.
        """
        return self.keeper.resume(state, self.folder)

    @property
    def complete(self) -> bool:
        """Whether a resumed run has nothing left to do."""
        return self.keeper.complete

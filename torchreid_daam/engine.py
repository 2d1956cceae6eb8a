"""Algorithm 1 of arXiv:1905.10529 on torchreid's engine.

One flat epoch axis: ``[0, pretrain_epoch)`` is line 1, then each round of
``round_epoch`` epochs is one iteration of lines 2 to 6. The engine gets its
labeller, samplers, loss terms and averager as objects and knows none of them
by name.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchreid_daam.data.domains import Domains
from torchreid_daam.data.paired import joint_batch
from torchreid_daam.data.samplers import Order, random_order
from torchreid_daam.errors import RunFailed
from torchreid_daam.evaluation.engine import EvaluatingEngine
from torchreid_daam.evaluation.health import round_figures
from torchreid_daam.evaluation.selection import (
    REFUSED,
    Selector,
    health_score,
)
from torchreid_daam.guards import StepGuard, check_weights
from torchreid_daam.pseudo_labels import PseudoLabels, agreement
from torchreid_daam.randomness import key_generator, key_seed, seed_all
from torchreid_daam.runs.checkpoint import (
    load_training_state,
    training_state,
    unwrapped,
)
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.signals import Deliver, postponed

logger = logging.getLogger('torchreid_daam')
TEST_OPTIONS = (
    'dist_metric',
    'normalize_feature',
    'use_metric_cuhk03',
    'ranks',
)


class _Converged(Exception):
    """Successive labels agree; no further round is trained."""


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
            ``applied(model)``, a context in which the model holds the
            averaged weights, for clustering, testing and saving, and
            ``state_dict`` / ``load_state_dict``. It swaps parameters only,
            never buffers: BatchNorm statistics are estimated while it is
            applied.
        guard: looks at each step's loss; see ``guards``.
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
        domains = Domains(
            datamanager,
            {'source': sampler_s, 'target': sampler},
            seed,
            epoch_length,
            persistent_workers,
            cache,
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
        if rounds and self.domains.target is None:
            raise ValueError('rounds need load_train_targets=True')
        self.optimizer, self.scheduler = optimizer, scheduler
        self.register_model('model', model, optimizer, scheduler)
        self.pretrain_epoch, self.rounds = pretrain_epoch, rounds
        self.round_epoch = round_epoch
        self.labeller = labeller
        self.terms = terms
        self.guard = guard or StepGuard()
        self.observer = observer
        self.selector = selector or Selector()
        self.stop_agreement = stop_agreement
        self.head_init = head_init
        self.labels: PseudoLabels | None = None
        self._round = 0  # whose labels are trained on
        self._stage: tuple[int | str, ...] = ()
        self._skip = 0  # batches of this epoch that an earlier run trained
        self._batch = self._batches = 0  # of those that are left
        self._signals: list[int] = []
        self._values: dict[str, float] = {}
        self._recorded_at = -1
        self.complete = False  # whether a resumed run has nothing left to do
        self._test_options: dict[str, Any] = {}
        self._running = False

    @property
    def num_epochs(self) -> int:
        """Length of the flat epoch axis."""
        return self.pretrain_epoch + self.rounds * self.round_epoch

    # torchreid counts the batches of an epoch from 0, one that goes on in
    # its middle too.

    @property
    def batch_idx(self) -> int:
        """Number of a batch in its whole epoch."""
        return self._skip + self._batch

    @batch_idx.setter
    def batch_idx(self, value: int) -> None:
        self._batch = value

    @property
    def num_batches(self) -> int:
        """Batches of the whole epoch."""
        return self._skip + self._batches

    @num_batches.setter
    def num_batches(self, value: int) -> None:
        self._batches = value

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
        if self.complete:
            logger.info('the run is complete: nothing is left to train')
            return
        self._running = True
        self.epoch = start_epoch - 1  # where only the last test is left
        try:
            super().run(save_dir=save_dir, start_epoch=start_epoch, **options)
        except _Converged as converged:
            logger.info('%s', converged)
            if not self.scores:  # resumed where the rounds had ended
                self.scored_test(**self._test_options)
            finished, _ = self._finished(self.epoch)
            self.folder.add_rows('final', finished, self.epoch, self.scores)
            self._save(self.epoch, complete=True)
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
        self._close_stage(self.epoch)
        finished, epoch = self._finished(self.epoch)
        if self.epoch < self.pretrain_epoch:
            self.train_loader = self.domains.pretraining
            stage = ('pretrain', 0, self.epoch)
        else:
            if self._round != finished + 1:
                self._begin_round(finished + 1)
            self.train_loader = self.domains.adaptation
            stage = ('adapt', finished + 1, epoch)
        self._stage = stage
        self.train_loader.set_epoch(*stage, skip=self._skip)
        with postponed() as self._signals:
            super().train(print_freq, fixbase_epoch, open_layers)
            self.guard.look()
        self._skip = 0
        done = self.epoch + 1
        if self._ends_stage(done) or self.folder.history.due(True):
            self._save(done)

    def _finished(self, done: int) -> tuple[int, int]:
        """Finished rounds after ``done`` epochs, and epochs of the next."""
        return divmod(max(0, done - self.pretrain_epoch), self.round_epoch)

    def _ends_stage(self, done: int) -> bool:
        """Whether pretraining, or a round, ends after ``done`` epochs."""
        after = done - self.pretrain_epoch
        return after >= 0 and after % self.round_epoch == 0

    def _close_stage(self, done: int) -> None:
        """Scores and saves where pretraining or a round has ended."""
        if not self._ends_stage(done) or self._recorded_at == done:
            return
        finished, _ = self._finished(done)
        if finished:
            self.adapt_batch_norm(finished, 0)
        self._record('round' if finished else 'direct', finished, done)
        self._save(done)

    # Lines 3 to 5 of Algorithm 1

    def _begin_round(self, round_: int) -> None:
        if round_ == 1 and self.adapt_bn:
            self.adapt_batch_norm(0, 0)
            self._record('adabn', 0, self.epoch)
        features = self.target_features()
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
        with self.averaged():
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
        self._round = round_

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

    # One step

    def forward_backward(
        self, data: dict[str, dict[str, Any]]
    ) -> dict[str, float]:
        """One step on a batch of the source or of both domains.

        Raises:
            RunFailed: if the loss is not finite; see ``guards``.
        """
        step = self.batch_idx
        self._heed_signals(step)
        # Layers that draw in a step, such as dropout.
        seed_all(key_seed(self.seed, 'step', *self._stage, step))
        imgs, batch = joint_batch(data, self.device)
        if 'target' in data:
            batch['progress'] = self._progress(step)
        self.guard.before(self.model)
        output = self.outputs(imgs, batch)
        terms = self.terms(output, batch)
        loss = self.terms.total(terms)
        self.optimizer.zero_grad()
        loss.backward()
        self.guard.step(
            self.optimizer,
            {'loss': loss, **terms},
            f'epoch {self.epoch + 1}, batch {step + 1}',
            [path for part in data.values() for path in part['impath']],
        )
        if self.averager is not None:
            self.averager.update(unwrapped(self.model))
        self._heed_signals(step + 1)
        if self._running and self.folder.history.due():
            self._save(self.epoch, batch=step + 1)
        return self._floats({'loss': loss, **terms})

    def _heed_signals(self, batch: int) -> None:
        """Ends the run between two steps, with what was trained saved."""
        if self._signals:
            if self._running:
                self._save(self.epoch, batch)
            raise Deliver

    def _floats(self, values: dict[str, torch.Tensor]) -> dict[str, float]:
        """Scalars for the sum and the log, in one trip from the device.

        On a GPU a trip waits for it, so torchreid's meters get the floats
        of the last one, made every ``guard.every`` steps.
        """
        known = self._values.keys() == values.keys()
        look = (self.batch_idx + 1) % self.guard.every == 0
        if self.device.type == 'cpu' or look or not known:
            floats = torch.stack(list(values.values())).tolist()
            self._values = dict(zip(values, floats, strict=True))
        return dict(self._values)

    def outputs(self, imgs: torch.Tensor, batch: dict[str, Any]) -> Any:
        """What the model says about a joint batch: one call for all rows.

        Args:
            imgs: (N, C, H, W).
            batch: see ``joint_batch``.
        """
        return self.model(imgs)

    def _progress(self, step: int) -> float:
        """Share of the adaptation done, for terms that warm up."""
        # Whole epochs first: the share has the same bits where pretraining
        # was loaded.
        epoch = self.epoch - self.pretrain_epoch
        done = epoch + step / self.num_batches
        return done / (self.rounds * self.round_epoch)

    # Testing, and what is kept

    def test(self, *args: Any, **kwargs: Any) -> float:
        """torchreid's test; within a run, with the target's statistics.

        A ``test_only`` run takes the statistics as they are.
        """
        if not self._running:
            rank1 = self.scored_test(*args, **kwargs)
            if self.folder is not None:
                self.folder.add_rows('final', 0, 0, self.scores)
            return rank1
        done = self.epoch + 1
        if done < self.num_epochs and self._ends_stage(done):
            self._close_stage(done)
            return self.rank1()
        if done > self.pretrain_epoch:
            self.adapt_batch_norm(*self._finished(done))
        rank1 = self.scored_test(*args, **kwargs)
        if done == self.num_epochs:
            self._add_last_rows(done)
        return rank1

    def _record(self, stage: str, round_: int, done: int) -> None:
        self.scored_test(**self._test_options)
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
        self.adapt_batch_norm(0, 0)
        self._record('adabn', 0, done)
        model.load_state_dict(state)
        self.scores = scores

    def save_model(
        self, epoch: int, rank1: float, save_dir: str, is_best: bool = False
    ) -> None:
        """torchreid's hook after a test; see :meth:`_save`."""
        self._save(epoch + 1, complete=epoch + 1 == self.num_epochs)

    def _save(self, done: int, batch: int = 0, complete: bool = False) -> None:
        """Writes the run's checkpoints, torchreid's keys and ours.

        ``last`` is what a resumed run goes on from, ``selected`` what
        the selector chose. That one comes first: a run that is killed
        between the two ends its stage again, with the same bits.

        Args:
            done: whole epochs that were trained.
            batch: batches of the next one.
            complete: whether nothing is left to do.
        """
        self.guard.look()
        check_weights(self.model)
        rows = self.folder.results.rows
        recorded = self._recorded_at == done or complete
        finished, _ = self._finished(done)
        chosen = (
            recorded
            and not batch
            and self.selector.offer(finished, self._round_score)
        )
        state = training_state(
            unwrapped(self.model), self.optimizer, self.scheduler
        )
        state.update(
            epoch=done,
            batch=batch,
            round=self._round,
            recorded=recorded,
            complete=complete,
            planned=self.num_epochs,
            skipped=self.guard.skipped,
            rank1=rows[-1]['rank1'] / 100 if rows else 0.0,
            rows=rows,
            round_scores=dict(self.selector.scores),
        )
        if self.labels is not None:
            state['pseudo_labels'] = self.labels.as_tensors()
            state['target_names'] = self._target_names
        if self.averager is not None:
            state['averager'] = self.averager.state_dict()
        if chosen:
            with self.averaged():
                weights = unwrapped(self.model).state_dict()
                self.folder.write_selected({**state, 'state_dict': weights})
        self.folder.write_checkpoint(state)

    def _round_score(self) -> float:
        """What the selector ranks the model of now by.

        It is keyed by the rounds that are finished, so a stage that is
        closed again gets the same score.
        """
        if self.selector.rule == 'target_map':
            ranks = self.scores.values()
            return float(np.mean([r.mean_ap for r in ranks]))
        features = self.target_features()
        cameras = self.domains.target_cameras
        generator = key_generator(self.seed, 'select', self._round)
        try:
            labels = self.labeller(features, cameras, self.labels, generator)
        except RunFailed as failed:
            logger.warning('round %d: %s', self._round, failed)
            return REFUSED
        return health_score(features, labels.labels, cameras, generator)

    def resume(self, state: Mapping[str, Any]) -> int:
        """Takes over a checkpoint; returns the epoch to go on from.

        Args:
            state: what :meth:`_save` wrote.

        Raises:
            KeyError, RuntimeError, ValueError: if it is of another run.
        """
        load_training_state(
            state, unwrapped(self.model), self.optimizer, self.scheduler
        )
        rows = list(state['rows'])
        if state['complete']:
            self.complete = state['planned'] >= self.num_epochs
            if not self.complete:  # it goes on for more rounds
                rows = [row for row in rows if row['stage'] != 'final']
        self.folder.results.restore(rows)
        self.selector.scores = dict(state.get('round_scores', {}))
        self._round, self._skip = state['round'], state['batch']
        self.guard.skipped = state['skipped']
        self.folder.keep_rounds(self._round)
        if state['recorded']:
            self._recorded_at = state['epoch']
        if self.averager is not None:
            self.averager.load_state_dict(state['averager'])
        if 'pseudo_labels' in state and self.domains.target is not None:
            self._check_target(state['target_names'])
            self.labels = PseudoLabels.from_tensors(state['pseudo_labels'])
            self.domains.target.set_labels(
                self.labels.labels, self.labels.weights
            )
        return state['epoch']

    @functools.cached_property
    def _target_names(self) -> list[str]:
        """Paths below the data root, which each checkpoint holds."""
        return self.folder.names(self.domains.target_paths)

    def _check_target(self, there: Sequence[str]) -> None:
        """Labels go with images, by name and in the order trained in."""
        here = self._target_names
        if len(there) != len(here):
            raise ValueError(
                f'labels of {len(there)} target images, {len(here)} are here'
            )
        for old, new in zip(there, here, strict=True):
            if old != new:
                raise ValueError(
                    f'target images are others, or their bytes are: {new} '
                    f'is where {old} was'
                )

"""A run's folder: where each of its files has its fixed name."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchreid_daam.data.seeded import relative_path
from torchreid_daam.errors import InputError, one_line
from torchreid_daam.runs.checkpoint import STOCK, stock_files
from torchreid_daam.runs.claims import (
    RESULTS,
    SETTINGS,
    check_foreign,
    check_free,
    check_kinds,
    check_newest,
)
from torchreid_daam.runs.files import (
    remove_leftovers,
    write_json,
    write_text,
)
from torchreid_daam.runs.history import SELECTED, CheckpointHistory
from torchreid_daam.runs.labels import (
    LabelledFiles,
    read_labels,
    write_labels,
)
from torchreid_daam.runs.lock import LOCK
from torchreid_daam.runs.parts import Parts
from torchreid_daam.runs.results import Results

CHECKPOINTS = 'checkpoints'
LABELS = 'pseudo_labels'
# Written when all is done.
COMPLETE = 'run.json'


class RunFolder:
    """Writes what a run leaves behind.

    Args:
        path: the run's folder (``data.save_dir``).
        data_root: image paths are written relative to it.
        results: the rows; shared with whoever adds to them.
        history: of checkpoints; by default one after each epoch.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        data_root: str | os.PathLike = '.',
        results: Results | None = None,
        history: CheckpointHistory | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self.data_root = os.path.abspath(os.path.expanduser(data_root))
        self.results = results or Results()
        self.history = history or CheckpointHistory(self.path / CHECKPOINTS)
        self.origin: dict[str, Any] = {}
        self.parts = Parts()
        # TensorBoard's writer, while a run is under way.
        self.events: Any = None
        # Where a resumed run has written until now.
        self.earlier = self.path
        self.prefix = ''
        self._rounds: dict[int, dict[str, Any]] = {}

    def add_rows(
        self, stage: str, round_: int, epoch: int, scores: Mapping[str, Any]
    ) -> None:
        """Adds a row per test set and writes ``results.json``.

        Args:
            stage: one of ``results.STAGES``.
            round_: rounds finished.
            epoch: epochs finished.
            scores: by data set, with ``cmc`` and ``mean_ap``.
        """
        for name, ranks in scores.items():
            self.results.add(
                stage, round_, epoch, name, ranks.cmc, ranks.mean_ap
            )
        self.write_results()

    def write_results(self) -> None:
        """Writes ``results.json``."""
        write_json(self._named(RESULTS), self.results.as_dict())

    def open(self, training: bool, resumed: str = '') -> None:
        """Begins to write, without losing what an earlier run left there.

        A test writes beside a run, as ``test-results.json`` and so on. A
        training, which holds the folder's lock, overwrites only a complete
        run of the same settings and seed, or goes on with the one it is
        resumed from.

        Args:
            training: whether the run trains.
            resumed: the checkpoint it goes on from, if any.

        Raises:
            InputError: if another run, or an unfinished one, is there.
        """
        below = self.path / CHECKPOINTS
        if not training:
            if below.is_dir() or (self.path / LOCK).exists():
                self.prefix = 'test-'
            return
        check_kinds(self.path, (CHECKPOINTS, LABELS, STOCK))
        files = self.checkpoints()
        if resumed and self.lies_in(resumed):
            if self.complete:
                check_newest(Path(resumed), self.history.newest_first())
        elif files or (below / SELECTED).is_file():
            own = (self.results.config_hash, self.results.seed)
            check_free(self.path, own, bool(files) and not self.complete)
        else:
            check_foreign(self.path)
        remove_leftovers(self.path)

    def begin(self) -> None:
        """From now on the run is unfinished, until all is written."""
        self._named(COMPLETE).unlink(missing_ok=True)

    @property
    def complete(self) -> bool:
        """Whether a run has written all that it writes."""
        names = (COMPLETE, RESULTS)
        return all((self.path / name).is_file() for name in names)

    def read_results(self) -> None:
        """Takes the rows of a complete run as they are.

        Raises:
            InputError: if ``results.json`` can't be read.
        """
        path = self.path / RESULTS
        try:
            self.results.take(json.loads(path.read_text(encoding='utf-8')))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{path}: no readable results ({one_line(error)[:120]}); '
                'without this file the run ends once more'
            ) from None

    def checkpoints(self) -> list[Path]:
        """What the run may be resumed from, the newest first."""
        return self.history.newest_first() or stock_files(self.path)

    def lies_in(self, checkpoint: str | os.PathLike) -> bool:
        """Whether a checkpoint is one of this folder; links are followed."""
        own = (self.path, self.path / CHECKPOINTS, self.path / STOCK)
        there = Path(checkpoint).parent.resolve()
        return there in [folder.resolve() for folder in own]

    def told(self) -> str:
        """Where the newest one is, as words for a message."""
        files = self.checkpoints()
        return f'last checkpoint: {files[0]}' if files else 'no checkpoint yet'

    def _named(self, name: str) -> Path:
        return self.path / (self.prefix + name)

    def write_settings(self, text: str) -> None:
        """Writes ``config.yaml``, the settings as they were resolved."""
        write_text(self._named(SETTINGS), text)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Writes ``run.json``: what may differ between equal runs."""
        write_json(self._named('run.json'), dict(environment))

    def names(self, paths: Sequence[str]) -> list[str]:
        """Image paths relative to the data root."""
        return [relative_path(path, self.data_root) for path in paths]

    def write_labels(
        self, round_: int, labels: Any, paths: Sequence[str], cameras: Any
    ) -> None:
        """Writes ``pseudo_labels/round-<r>.npz``, by relative image path."""
        names = self.names(paths)
        write_labels(self.labels_file(round_), names, cameras, labels)

    def labels_file(self, round_: int) -> Path:
        """Where :meth:`write_labels` writes."""
        return self.path / LABELS / f'round-{round_}.npz'

    def write_round(self, round_: int, figures: Mapping[str, Any]) -> None:
        """Adds figures to a round's line of ``rounds.jsonl``.

        The file is read first, so a resumed run keeps the earlier rounds.
        """
        if not self._rounds:
            self.keep_rounds(round_ - 1)
        entry = self._rounds.setdefault(round_, {'round': round_})
        entry.update(figures)
        self.write_rounds()

    def write_rounds(self) -> None:
        """Writes the lines that are known; none, no file."""
        if not self._rounds:
            return
        lines = [json.dumps(self._rounds[r]) for r in sorted(self._rounds)]
        write_text(self.path / 'rounds.jsonl', '\n'.join(lines) + '\n')

    def keep_rounds(self, last: int) -> None:
        """Takes the lines of rounds up to the last one from the file.

        Those after it are of rounds that a resumed run trains again.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.earlier / 'rounds.jsonl'
        if not path.is_file():
            return
        try:
            lines = path.read_text(encoding='utf-8').splitlines()
            found = {int(old['round']): old for old in map(json.loads, lines)}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{path}: no readable figures of rounds '
                f'({one_line(error)[:60]}); without this file the run goes on'
            ) from None
        for round_, old in found.items():
            if round_ <= last:
                self._rounds.setdefault(round_, old)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The lines of ``rounds.jsonl`` that are known here, in order."""
        return [self._rounds[r] for r in sorted(self._rounds)]

    def read_labels(self, round_: int) -> LabelledFiles:
        """What :meth:`write_labels` wrote.

        Raises:
            InputError: if the file is missing or damaged.
        """
        return read_labels(self.labels_file(round_))

    def write_checkpoint(self, state: Mapping) -> None:
        """Writes a checkpoint that the run can go on from.

        What was logged until then comes before it.
        """
        if self.events is not None:
            self.events.flush()
        self.history.write(self.signed(state))

    def write_selected(self, state: Mapping) -> None:
        """Writes ``checkpoints/selected.pth``, the model to use."""
        self.history.write_selected(self.signed(state))

    def signed(self, state: Mapping) -> dict[str, Any]:
        """A state with what it comes from, and what it took until now."""
        parts = self.parts.as_list()
        return {**state, 'origin': self.origin, 'parts': parts}

"""A run's folder: where each of its files has its fixed name."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchreid_daam.data.seeded import relative_path
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import (
    remove_leftovers,
    write_json,
    write_text,
)
from torchreid_daam.runs.history import CheckpointHistory
from torchreid_daam.runs.labels import (
    LabelledFiles,
    read_labels,
    write_labels,
)
from torchreid_daam.runs.lock import owned
from torchreid_daam.runs.results import Results

CHECKPOINTS = 'checkpoints'


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
        write_json(self._named('results.json'), self.results.as_dict())

    @contextlib.contextmanager
    def claimed(self, training: bool, resumed: str = '') -> Iterator[None]:
        """Holds the folder without losing what an earlier run left there.

        A test writes beside a run, as ``test-results.json`` and so on. A
        training is the only one in the folder while it goes on, and
        overwrites only a run of the same settings and seed, or the one it
        is resumed from.

        Args:
            training: whether the run trains.
            resumed: the checkpoint it goes on from, if any.

        Raises:
            InputError: if another run's results are there, or another
                process is training there.
        """
        if not training:
            if (self.path / CHECKPOINTS).is_dir():
                self.prefix = 'test-'
            yield
            return
        with owned(self.path, 'data.save_dir'):
            if self.path.resolve() not in Path(resumed).resolve().parents:
                self._check_free()
            remove_leftovers(self.path)
            yield

    def _check_free(self) -> None:
        if not (self.path / CHECKPOINTS).is_dir():
            return
        try:
            text = (self.path / 'results.json').read_text(encoding='utf-8')
            there = json.loads(text)
        except (OSError, ValueError):
            return
        own = self.results.as_dict()
        if any(there.get(k) != own[k] for k in ('config_hash', 'seed')):
            raise InputError(
                f'data.save_dir={self.path}: holds a run with other settings; '
                'choose another folder, or move it away'
            )

    def _named(self, name: str) -> Path:
        return self.path / (self.prefix + name)

    def write_settings(self, text: str) -> None:
        """Writes ``config.yaml``, the settings as they were resolved."""
        write_text(self._named('config.yaml'), text)

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
        write_labels(self._labels_file(round_), names, cameras, labels)

    def _labels_file(self, round_: int) -> Path:
        return self.path / 'pseudo_labels' / f'round-{round_}.npz'

    def write_round(self, round_: int, figures: Mapping[str, Any]) -> None:
        """Adds figures to a round's line of ``rounds.jsonl``.

        The file is read first, so a resumed run keeps the earlier rounds.
        """
        if not self._rounds:
            self.keep_rounds(round_ - 1)
        entry = self._rounds.setdefault(round_, {'round': round_})
        entry.update(figures)
        lines = [json.dumps(self._rounds[r]) for r in sorted(self._rounds)]
        write_text(self.path / 'rounds.jsonl', '\n'.join(lines) + '\n')

    def keep_rounds(self, last: int) -> None:
        """Takes the lines of rounds up to the last one from the file.

        Those after it are of rounds that a resumed run trains again.
        """
        path = self.path / 'rounds.jsonl'
        if not path.is_file():
            return
        for line in path.read_text(encoding='utf-8').splitlines():
            old = json.loads(line)
            if old['round'] <= last:
                self._rounds.setdefault(old['round'], old)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The lines of ``rounds.jsonl`` that are known here, in order."""
        return [self._rounds[r] for r in sorted(self._rounds)]

    def read_labels(self, round_: int) -> LabelledFiles:
        """What :meth:`write_labels` wrote.

        Raises:
            InputError: if the file is missing or damaged.
        """
        return read_labels(self._labels_file(round_))

    def write_checkpoint(self, state: Mapping) -> None:
        """Writes a checkpoint that the run can go on from."""
        self.history.write({**state, 'origin': self.origin})

    def write_selected(self, state: Mapping) -> None:
        """Writes ``checkpoints/selected.pth``, the model to use."""
        self.history.write_selected({**state, 'origin': self.origin})

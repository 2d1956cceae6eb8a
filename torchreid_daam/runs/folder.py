"""A run's folder: where each of its files has its fixed name."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchreid_daam.data.seeded import relative_path
from torchreid_daam.errors import InputError
from torchreid_daam.runs.checkpoint import save_checkpoint
from torchreid_daam.runs.files import write_arrays, write_json, write_text
from torchreid_daam.runs.results import Results


class RunFolder:
    """Writes what a run leaves behind.

    Args:
        path: the run's folder (``data.save_dir``).
        data_root: image paths are written relative to it.
        results: the rows; shared with whoever adds to them.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        data_root: str | os.PathLike = '.',
        results: Results | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self.data_root = os.path.abspath(os.path.expanduser(data_root))
        self.results = results or Results()
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

    def claim(self, training: bool, resumed: str = '') -> None:
        """Takes the folder without losing what an earlier run left there.

        A test writes beside a run, as ``test-results.json`` and so on. A
        training overwrites only a run of the same settings and seed, or the
        one it is resumed from.

        Args:
            training: whether the run trains.
            resumed: the checkpoint it goes on from, if any.

        Raises:
            InputError: if another run's results are there.
        """
        if not (self.path / 'checkpoints').is_dir():
            return
        if not training:
            self.prefix = 'test-'
            return
        if resumed and self.path.resolve() in Path(resumed).resolve().parents:
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

    def write_labels(
        self, round_: int, labels: Any, paths: Sequence[str], cameras: Any
    ) -> None:
        """Writes ``pseudo_labels/round-<r>.npz``, by relative image path."""
        names = [relative_path(path, self.data_root) for path in paths]
        write_arrays(
            self.path / 'pseudo_labels' / f'round-{round_}.npz',
            {
                'path': np.array(names),
                'camera': np.asarray(cameras),
                'label': labels.labels,
                'weight': labels.weights,
                'centers': labels.centers,
            },
        )

    def write_round(self, round_: int, figures: Mapping[str, Any]) -> None:
        """Adds figures to a round's line of ``rounds.jsonl``.

        The file is read first, so a resumed run keeps the earlier rounds.
        """
        path = self.path / 'rounds.jsonl'
        if not self._rounds and path.is_file():
            for line in path.read_text(encoding='utf-8').splitlines():
                old = json.loads(line)
                if old['round'] < round_:
                    self._rounds[old['round']] = old
        entry = self._rounds.setdefault(round_, {'round': round_})
        entry.update(figures)
        lines = [json.dumps(self._rounds[r]) for r in sorted(self._rounds)]
        write_text(path, '\n'.join(lines) + '\n')

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The lines of ``rounds.jsonl`` that are known here, in order."""
        return [self._rounds[r] for r in sorted(self._rounds)]

    def read_labels(self, round_: int) -> np.ndarray | None:
        """Labels (N,) of a round, in the order of the target's images.

        None where somebody took the file away.
        """
        path = self.path / 'pseudo_labels' / f'round-{round_}.npz'
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return arrays['label']

    def write_checkpoint(self, state: Mapping, *names: str) -> None:
        """Writes ``checkpoints/<name>.pth`` for each name."""
        for name in names:
            save_checkpoint(self.path / 'checkpoints' / f'{name}.pth', state)

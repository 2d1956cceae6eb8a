"""What a scan of images found, as text and as JSON."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchreid_daam.data.tree import shown
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_json

FORMAT = 1


class Report:
    """What was found, as text and as JSON.

    Attributes:
        domains: figures of each domain's training images.
        run: what the run would cost; empty where that is not known.
        problems: why a run can't work, a line each.
        warnings: what to look at, a line each.
    """

    def __init__(self) -> None:
        self.domains: dict[str, dict[str, Any]] = {}
        self.run: dict[str, Any] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def as_dict(self) -> dict[str, Any]:
        """What ``check.json`` holds."""
        return {'format': FORMAT, **vars(self)}

    def write(self, folder: str | os.PathLike) -> Path:
        """Writes ``check.json`` into a run's folder."""
        path = Path(folder).expanduser() / 'check.json'
        write_json(path, self.as_dict())
        return path

    def raise_problems(self) -> None:
        """Stops a run that can't work.

        Raises:
            InputError: with the first problem.
        """
        if self.problems:
            raise InputError(self.problems[0])

    def text(self) -> str:
        """The table, in plain words."""
        lines = []
        for name, figures in self.domains.items():
            lines += _domain_lines(name, figures)
        if self.run:
            lines.append('run')
            lines += [f'  {k:<15}{v}' for k, v in self.run['shown'].items()]
        for title in ('problems', 'warnings'):
            found = getattr(self, title)
            if found:
                lines += [title, *(f'  {line}' for line in found)]
        return '\n'.join(lines)


def _domain_lines(name: str, figures: Mapping[str, Any]) -> list[str]:
    cameras = [f'{k}: {v}' for k, v in figures['cameras'].items()]
    if len(cameras) > 12:
        cameras = [*cameras[:12], f'... {len(cameras)} in all']
    near = figures['near_copies']
    least = figures['tiny_below']
    rows = {
        'images': figures['images'],
        'cameras': ', '.join(map(shown, cameras)),
        'width': _range(figures['width'], '{:.0f}', ' pixels'),
        'height': _range(figures['height'], '{:.0f}', ' pixels'),
        'height / width': _range(figures['aspect'], '{:.2f}', ''),
        'unreadable': figures['unreadable'],
        'exact copies': figures['exact_copies'],
        'near copies': (
            'not looked for: pip install torchreid-daam[check]'
            if near is None
            else near
        ),
        'blank': figures['blank'],
        'tiny': (
            f'{figures["tiny"]} (below {least["width"]:g} x '
            f'{least["height"]:g} pixels)'
        ),
    }
    return [name, *(f'  {key:<15}{value}' for key, value in rows.items())]


def _range(quartiles: Sequence[float] | None, form: str, unit: str) -> str:
    if quartiles is None:
        return '-'
    low, _, median, _, high = (form.format(value) for value in quartiles)
    return f'{median}{unit} ({low} to {high})'

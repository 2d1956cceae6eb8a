"""A run's rows: which stage scored what on which data set."""

from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = 1
STAGES = ('direct', 'adabn', 'round', 'final', 'supervised', 'oracle')
RANKS = (1, 5, 10, 20)
TITLES = {
    'direct': 'direct transfer',
    'adabn': 'AdaBN',
    'round': 'round {round}',
    'final': 'final',
    'supervised': 'supervised',
    'oracle': 'oracle (target labels)',
}


class Results:
    """Rows in the order they were scored; one per stage, round, data set.

    Args:
        config_hash: digest of the settings that can move a number.
        seed: of the run.
    """

    def __init__(self, config_hash: str = '', seed: int = 0) -> None:
        self.config_hash = config_hash
        self.seed = seed
        self.rows: list[dict[str, Any]] = []
        self.notes: dict[str, str] = {}

    def add(
        self,
        stage: str,
        round_: int,
        epoch: int,
        dataset: str,
        cmc: Sequence[float],
        mean_ap: float,
    ) -> None:
        """Adds a row, or replaces the one of the same stage.

        Args:
            stage: one of ``STAGES``.
            round_: rounds trained so far.
            epoch: epochs trained so far, on the flat axis.
            dataset: name of the test set.
            cmc: matching rates in [0, 1] from rank 1 on, at least 20.
            mean_ap: mean average precision in [0, 1].
        """
        if stage not in STAGES:
            raise ValueError(f'stage={stage!r} is none of {STAGES}')
        row = {
            'stage': stage,
            'round': round_,
            'epoch': epoch,
            'dataset': dataset,
            'mAP': 100 * float(mean_ap),
        }
        row.update({f'rank{r}': 100 * float(cmc[r - 1]) for r in RANKS})
        self.restore([row])

    def restore(self, rows: Sequence[dict[str, Any]]) -> None:
        """Takes rows as they are, e.g. those of a checkpoint."""
        for row in rows:
            same = [
                i
                for i, old in enumerate(self.rows)
                if all(old[k] == row[k] for k in ('stage', 'round', 'dataset'))
            ]
            for i in reversed(same):
                del self.rows[i]
            self.rows.append(dict(row))

    def take(self, written: Mapping[str, Any]) -> None:
        """Becomes what :meth:`as_dict` gave, settings and seed excepted.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        self.rows = [dict(row) for row in written['rows']]
        self.notes = dict(written.get('notes', {}))

    def finish(self, round_: int) -> None:
        """Makes the rows of a round the final ones."""
        rows = [r for r in self.rows if r['stage'] == 'round']
        rows = [r for r in rows if r['round'] == round_]
        final = [dict(row, stage='final') for row in rows]
        if final:
            self.rows = [r for r in self.rows if r['stage'] != 'final']
            self.restore(final)

    def find(self, stage: str, dataset: str | None = None) -> dict | None:
        """The last row of a stage, or None."""
        for row in reversed(self.rows):
            if row['stage'] == stage and dataset in (None, row['dataset']):
                return row
        return None

    def as_dict(self) -> dict[str, Any]:
        """What ``results.json`` holds: no times, no host, no rounding.

        ``notes`` are there only where there is something to say.
        """
        notes = {'notes': self.notes} if self.notes else {}
        return {
            **notes,
            'format': FORMAT,
            'config_hash': self.config_hash,
            'seed': self.seed,
            'rows': self.rows,
        }

    def table(self) -> str:
        """A plain-text table, percent with one decimal."""
        head = ('stage', 'data set', 'mAP', 'rank 1', 'rank 5', 'rank 10')
        lines = [
            (
                TITLES[row['stage']].format(round=row['round']),
                row['dataset'],
                *(
                    f'{row[k]:.1f}'
                    for k in ('mAP', 'rank1', 'rank5', 'rank10')
                ),
            )
            for row in self.rows
        ]
        return plain_table(head, lines, 2)


def plain_table(
    head: Sequence[str], lines: Sequence[Sequence[str]], left: int
) -> str:
    """Columns of text under a rule, numbers to the right.

    Args:
        head: titles.
        lines: cells, as many as titles.
        left: columns that are aligned to the left, from the first one on.
    """
    rows = [head, *lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return '  '.join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )

    rule = '-' * (sum(widths) + 2 * (len(widths) - 1))
    return '\n'.join([line(head), rule, *map(line, lines)])

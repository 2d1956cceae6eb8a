"""What a row, an order of rows and a suite are; rows of several suites."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from yacs.config import CfgNode as CN

FULL = 'full'
# Suites in the order of the document.
TITLES = {
    'table3': 'Table 3: modules of the network',
    'table4': 'Table 4: losses',
    'fig5': 'Figure 5: rounds',
    'fig6': 'Figure 6: clusters',
    'baselines': 'Baselines',
    'choices': 'Choices where the paper is silent or was departed from',
    'plus': 'The modern recipe',
    'pairs': 'Other pairs',
    'own': 'Own cameras: what is chosen without labels',
}
# Those that are not the paper's; their settings were found on embedded data.
EMBEDDED_ONLY = ('plus', 'pairs', 'own')


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        key: its name on the command line.
        title: its name in the table.
        settings: over the base settings.
        method: ``daam``, ``supervised``, ``pul``, ``arn`` or
            ``cluster_contrast``.
        stage: of the run's rows, the one that is reported.
        seat: what takes a seat of the engine; see ``seats``.
        reference: key of the row that it is compared with.
        ours: whether the paper has no such row.
        x: where it stands in a figure.
        after: ``judge`` adds what ``unlabelled.judged`` finds.
    """

    key: str
    title: str
    settings: dict[str, Any]
    method: str = 'daam'
    stage: str = 'final'
    seat: str = ''
    reference: str = FULL
    ours: bool = False
    x: float | None = None
    after: str = ''


class Claim(NamedTuple):
    """An order of two rows.

    Attributes:
        better: key of the row that is said to be better.
        worse: key of the other.
        paper: what the paper's mAP differ by, Duke to Market and Market to
            Duke; empty where the claim is not the paper's.
        equal: whether the claim is that they do not differ.
        least: mAP by which the first is wanted to be better.
        share: part of the other's mAP that the first is wanted to reach.
        over: pairs over which both are averaged; each key is then the end of
            rows' keys, ``<pair>_<key>``.
    """

    better: str
    worse: str
    paper: tuple[float, ...] = ()
    equal: bool = False
    least: float = 0.0
    share: float = 0.0
    over: tuple[str, ...] = ()


class Suite(NamedTuple):
    """A table or a figure."""

    key: str
    rows: list[Row]
    claims: list[Claim]
    seeds: tuple[int, ...]
    note: str = ''

    @property
    def title(self) -> str:
        """Its heading in the document."""
        return TITLES[self.key]


PLAIN = {'model.daam.attention': 'none', 'model.daam.dsp_branch': False}
FULL_ROW = Row(FULL, 'full DAAM', {})
DIRECT = Row('direct', 'direct transfer', PLAIN, stage='direct', reference='')
ADABN = Row(
    'adabn', 'AdaBN', PLAIN, stage='adabn', reference='direct', ours=True
)


def embedded(cfg: CN) -> bool:
    """Whether all data is drawn."""
    return all_drawn([*cfg.data.sources, *cfg.data.targets])


def all_drawn(names: Iterable[str]) -> bool:
    """Whether these data sets are the embedded ones."""
    return all(name.startswith('synthetic_') for name in names)

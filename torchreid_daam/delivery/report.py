"""The page: sections, each whole or explained as missing, in one file."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from torchreid_daam.delivery.figures import save, svg
from torchreid_daam.errors import plain_message
from torchreid_daam.runs.files import write_json, write_text

# Folder of the figures, beside the page.
DRAWN = 'report'


@dataclass
class Picture:
    """A figure of a section.

    Attributes:
        name: of its PNG and PDF.
        figure: as matplotlib has it.
        alt: what it shows, for those who can't see it.
        wide: scrolled within its frame on a phone.
        shown: on the page; otherwise only its files are written.
    """

    name: str
    figure: Figure
    alt: str
    wide: bool = False
    shown: bool = True


class Cell(NamedTuple):
    """Text of a table with a smaller line below it."""

    text: str
    below: str = ''

    def __str__(self) -> str:
        return self.text


@dataclass
class Table:
    """Cells as text; the first row is the head.

    Attributes:
        rows: of cells, the first of which names the row.
        numbers: aligned to the right.
    """

    rows: Sequence[Sequence[Any]]
    numbers: bool = True


@dataclass
class Scatter:
    """Points that can be zoomed: (x, y, domain, group, label) each.

    x and y are in [0, 1], domain and group are numbers of names, group -1
    has none.
    """

    title: str
    points: Sequence[tuple[float, float, int, int, str]]
    domains: Sequence[str]
    groups: Sequence[str] = ()


@dataclass
class Section:
    """A part of the page; ``missing`` says why it has no content.

    ``folded`` hides its code until somebody asks for it.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    scatters: list[Scatter] = field(default_factory=list)
    code: str = ''
    folded: bool = False
    missing: str = ''


def section(title: str, fill: Callable[[Section], None]) -> Section:
    """A section as ``fill`` makes it, or why it can't be made."""
    made = Section(title)
    try:
        fill(made)
    # A report tells what is wrong with a run; whatever is wrong with one
    # part of it must not take the others away.
    except Exception as error:
        made.missing = plain_message(error)
    return made


def render(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML that needs nothing but itself."""
    folder = resources.files('torchreid_daam.delivery') / 'templates'
    texts = {
        name: (folder / name).read_text(encoding='utf-8')
        for name in ('report.html.j2', 'report.css', 'report.js')
    }
    environment = Environment(
        loader=DictLoader(texts),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('report.html.j2').render(
        title=title,
        sections=sections,
        style=Markup(texts['report.css']),
        script=Markup(texts['report.js']),
        svg=lambda figure: Markup(svg(figure)),
    )


def write(
    folder: str | os.PathLike,
    title: str,
    sections: Sequence[Section],
    writer: Any = None,
) -> Path:
    """Writes ``report.html``, and its figures into ``report/``.

    ``report/figures.json`` lists them with what they show.

    Args:
        folder: where they go.
        title: of the page.
        sections: of the page.
        writer: a TensorBoard writer that gets the figures too.

    Returns:
        The page's path.
    """
    folder = Path(folder).expanduser()
    page = folder / 'report.html'
    write_text(page, render(title, sections), errors='backslashreplace')
    for part in sections:
        for picture in part.pictures:
            if not picture.shown:
                picture.figure.draw_without_rendering()
            # Where things are is known by now; it is worked out once.
            picture.figure.set_layout_engine('none')
            save(picture.figure, folder / DRAWN / picture.name)
            if writer is not None:
                tag = f'{part.title}/{picture.name}'
                writer.add_figure(tag, picture.figure, close=False)
    _forget(folder / DRAWN, sections)
    return page


def _forget(folder: Path, sections: Sequence[Section]) -> None:
    """Lists what was drawn; what only an earlier page had is removed."""
    drawn = {p.name: p.alt for part in sections for p in part.pictures}
    listing = folder / 'figures.json'
    try:
        earlier = set(json.loads(listing.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        earlier = set()
    for name in earlier - set(drawn):
        # Nobody's other file: a figure lies in this very folder.
        if isinstance(name, str) and name == os.path.basename(name):
            for ending in ('png', 'pdf'):
                (folder / f'{name}.{ending}').unlink(missing_ok=True)
    if drawn or earlier:
        write_json(listing, drawn)

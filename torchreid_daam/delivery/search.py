"""Ranked matches of query images in a gallery."""

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from torchreid_daam.data.seeded import read_image
from torchreid_daam.data.tree import shown
from torchreid_daam.evaluation.calibration import cosine_distances
from torchreid_daam.runs.files import atomic
from torchreid_daam.runs.results import plain_table

TILE = (64, 128)
_GAP = 8
_TEXT = 14
# Queries that a contact sheet shows; a longer one is no picture any more.
SHEET_QUERIES = 20
# Distances that are held at a time: 32 MB.
BLOCK = 2**22
_COLOURS = {'same': (30, 140, 60), 'different': (190, 50, 40), '': (90,) * 3}


class Match(NamedTuple):
    """One ranked gallery image; ``verdict`` is '' without a threshold."""

    rank: int
    path: str
    distance: float
    verdict: str


def search(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_paths: Sequence[str],
    gallery_paths: Sequence[str],
    top: int = 10,
    threshold: float | None = None,
) -> list[list[Match]]:
    """The nearest gallery images of each query, nearest first.

    Ties go to the image that comes first. A query is not found in itself.

    Args:
        queries: vectors (Q, D).
        gallery: vectors (G, D).
        query_paths: Q files.
        gallery_paths: G files.
        top: matches for a query.
        threshold: cosine distance up to which two images are the same
            person, from a calibration.
    """
    found = []
    names = np.array([os.path.realpath(path) for path in gallery_paths])
    rows = _distances(queries, gallery)
    for distances, path in zip(rows, query_paths, strict=True):
        order = np.argsort(distances, kind='stable')
        order = order[names[order] != os.path.realpath(path)][:top]
        found.append(
            [
                Match(
                    rank,
                    gallery_paths[i],
                    float(distances[i]),
                    _verdict(distances[i], threshold),
                )
                for rank, i in enumerate(order, 1)
            ]
        )
    return found


def _distances(
    queries: np.ndarray, gallery: np.ndarray
) -> Iterator[np.ndarray]:
    """A row (G,) for each query, of blocks that fit into memory.

    One query at a time would read the whole gallery for each.
    """
    step = max(1, BLOCK // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        yield from cosine_distances(queries[start : start + step], gallery)


def _verdict(distance: float, threshold: float | None) -> str:
    if threshold is None:
        return ''
    return 'same' if distance <= threshold else 'different'


def as_json(
    query_paths: Sequence[str],
    found: Sequence[Sequence[Match]],
    threshold: float | None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """The matches as plain values, with what is weak about the threshold."""
    return {
        'format': 1,
        'metric': 'cosine',
        'threshold': threshold,
        'warnings': list(warnings),
        'queries': [
            {'path': path, 'matches': [match._asdict() for match in matches]}
            for path, matches in zip(query_paths, found, strict=True)
        ],
    }


def table(query_paths: Sequence[str], found: Sequence[Sequence[Match]]) -> str:
    """The matches as text, a line each."""
    lines = [
        (
            shown(path, 60),
            shown(match.path, 60),
            str(match.rank),
            f'{match.distance:.4f}',
            match.verdict or '-',
        )
        for path, matches in zip(query_paths, found, strict=True)
        for match in matches
    ]
    head = ('query', 'match', 'rank', 'distance', 'verdict')
    return plain_table(head, lines, 2)


def contact_sheet(
    path: str | os.PathLike,
    query_paths: Sequence[str],
    found: Sequence[Sequence[Match]],
) -> None:
    """A PNG with a row for each query: itself, then its matches.

    Frames are green for the same person, red for another one, grey where
    there is no threshold. At most ``SHEET_QUERIES`` rows.
    """
    rows = list(zip(query_paths, found, strict=True))[:SHEET_QUERIES]
    columns = 1 + max(len(matches) for _, matches in rows)
    width, height = TILE[0] + _GAP, TILE[1] + _GAP + _TEXT
    sheet = Image.new('RGB', (columns * width, len(rows) * height), 'white')
    draw = ImageDraw.Draw(sheet)
    for y, (query, matches) in enumerate(rows):
        _tile(sheet, draw, query, 'query', (0, y * height), (0, 0, 0))
        for x, match in enumerate(matches, 1):
            _tile(
                sheet,
                draw,
                match.path,
                f'{match.distance:.3f}',
                (x * width, y * height),
                _COLOURS[match.verdict],
            )
    buffer = io.BytesIO()
    sheet.save(buffer, format='PNG')
    with atomic(path) as file:
        file.write(buffer.getvalue())


def _tile(sheet, draw, path, text, corner, colour) -> None:
    x, y = corner
    image = read_image(path).resize(TILE, Image.Resampling.BILINEAR)
    box = (x + 1, y + 1, x + TILE[0] + 6, y + TILE[1] + 6)
    draw.rectangle(box, outline=colour, width=3)
    sheet.paste(image, (x + 4, y + 4))
    draw.text((x + 4, y + TILE[1] + _GAP), text, fill=colour)

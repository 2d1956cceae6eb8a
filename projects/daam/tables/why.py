"""Figures in the document, and the section that is made of three of them."""

import os
from pathlib import Path
from typing import Any

from tables.intervals import mean_sd

WHY = 'Why'


def image(title: str, path: Path, doc: Path) -> str:
    """A figure in Markdown, its place relative to the document."""
    where = os.path.relpath(f'{path}.png', doc.parent).replace(os.sep, '/')
    return f'![{title}]({where})'


def why(
    figures: dict[str, Path],
    found: dict[str, dict[str, Any]],
    doc: Path,
) -> str:
    """The section that shows why an order does or does not hold.

    Args:
        figures: files, without their ending, by name.
        found: the paper's suites' JSON by key.
        doc: the document.
    """
    texts = {
        'weights': (
            'Weights of Eq. 9 in the last round',
            'The narrower they are, the less the weighted loss differs from '
            'the plain one at another rate.',
        ),
        'p_o': (
            'p_o of Eq. 5 on both domains and on noise',
            'Where noise is as nominal as pedestrians are, L_DS is met '
            'without the domains coming closer.',
        ),
        'cosine': (
            'Cosine of f_sh and f_sp on target images',
            'What the orthogonality term does to the features, whether or '
            'not the ranks move.',
        ),
    }
    parts = []
    for key, (title, text) in texts.items():
        if key in figures:
            shown = image(title, figures[key], doc)
            parts.append(f'**{title}.** {text}\n\n{shown}')
    means = _means(found)
    if not parts:
        return ''
    body = '\n\n'.join(parts)
    return f'\n## {WHY}\n\n{body}\n\n{means}\n'


def _means(found: dict[str, dict[str, Any]]) -> str:
    """Mean over runs of what the figures show, for each row that has it."""
    lines = {}
    for suite in found.values():
        for row in suite['rows']:
            means = [run['means'] for run in row['runs'] if run.get('means')]
            if not means or row['stage'] != 'final':
                continue
            names = sorted({name for m in means for name in m})
            cells = []
            for name in names:
                values = [m[name] for m in means if name in m]
                cells.append(f'{name} {mean_sd(values)[0]:.3g}')
            lines[row['key']] = f'- {row["title"]}: {", ".join(cells)}'
    if not lines:
        return ''
    return 'Means over images and seeds:\n\n' + '\n'.join(lines.values())

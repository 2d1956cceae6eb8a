"""Who is where: t-SNE of both domains, for one run or for several."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torchreid_daam.delivery.figures import embedding_figure, tsne
from torchreid_daam.delivery.report import Picture, Scatter, Section
from torchreid_daam.errors import InputError
from torchreid_daam.model import DAAM
from torchreid_daam.report_material import Material, sample

# Images of a domain, and identities and clusters that have a colour.
POINTS, NAMED = 250, 4


class Look(NamedTuple):
    """A panel: its title, whose pictures, and the model that looks."""

    title: str
    material: Material
    model: Callable[[], DAAM]


def places(material: Material) -> Callable[[Section], None]:
    """t-SNE of both domains before and after (Fig. 8)."""
    looks = [
        Look('before', material, lambda: material.source_model),
        Look('after', material, lambda: material.model),
    ]
    return lambda part: show_places(part, looks)


def show_places(part: Section, looks: Sequence[Look]) -> None:
    """Panels of the same images, those of the first look's run.

    A model or domain that is not there becomes a note.

    Raises:
        InputError: if no panel can be made.
    """
    first = looks[0].material
    entries, domains = domain_entries(first, part)
    entries, panels = embedded_places(part, looks, entries)
    groups = _groups(first, entries)
    named = sorted({g for g in groups if g})
    for title, xy in panels.items():
        points = [
            (
                float(x),
                float(y),
                domains.index(name),
                named.index(group) if group else -1,
                f'{name}: {os.path.basename(path)} {group}'.strip(),
            )
            for (x, y), (name, path, _), group in zip(
                xy, entries, groups, strict=True
            )
        ]
        part.scatters.append(
            Scatter(f't-SNE, {title}', points, domains, named)
        )
    where = [name for name, *_ in entries]
    for name, colours in (('domain', where), ('group', groups)):
        part.pictures.append(
            Picture(
                f'tsne-{name}',
                embedding_figure(panels, colours),
                f't-SNE of {len(entries)} images coloured by '
                + ('domain.' if name == 'domain' else 'identity or cluster.'),
                wide=len(panels) > 1,
                shown=False,  # the scatters are the same points
            )
        )


def domain_entries(
    material: Material, part: Section
) -> tuple[list[tuple], list[str]]:
    """(domain, path, pid) of a sample of images, and the domains.

    A domain that is missing becomes a note.
    """
    found = {'source': material.manager.train_loader.dataset.data}
    try:
        found['target'] = material.target
    except InputError as error:
        part.notes.append(f'One domain only: {error}')
    entries = []
    for name, data in found.items():
        data = sorted(data, key=lambda d: d[0])
        chosen = [data[i] for i in sample(len(data), POINTS, name)]
        entries += [(name, *entry[:2]) for entry in chosen]
    return entries, list(found)


def embedded_places(
    part: Section, looks: Sequence[Look], entries: list[tuple]
) -> tuple[list[tuple], dict]:
    """The entries that can be read, and places (N, 2) of them by title.

    Raises:
        InputError: if no panel can be made.
    """
    panels = {}
    for title, material, model in looks:
        try:
            kept, vectors = material.pictures.vectors(
                model(), entries, lambda entry: entry[1]
            )
            if panels and len(kept) < len(entries):
                raise InputError('images were deleted meanwhile')
            entries = kept
            panels[title] = tsne(vectors)
        except (InputError, OSError, ValueError) as error:
            part.notes.append(f'No panel "{title}": {error}')
    if not panels:
        raise InputError(part.notes.pop())
    return entries, panels


def _groups(material: Material, entries: list[tuple]) -> list[str]:
    """Names of the commonest identities and clusters, '' for the others."""
    clusters = {}
    try:
        files = material.labels
        for name, label in zip(files.names, files.labels.labels, strict=True):
            clusters[os.path.abspath(material.file(name))] = int(label)
    except InputError:
        pass  # its own section says so
    names = []
    for domain, path, pid in entries:
        label = clusters.get(os.path.abspath(path), -1)
        if domain == 'target':
            names.append(f'cluster {label}' if label >= 0 else '')
        else:
            names.append(f'identity {pid}')
    kept: set[str] = set()
    for kind in ('identity', 'cluster'):
        counted = Counter(n for n in names if n.startswith(kind))
        kept |= {name for name, _ in counted.most_common(NAMED)}
    return [name if name in kept else '' for name in names]

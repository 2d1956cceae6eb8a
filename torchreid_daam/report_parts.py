"""The parts of a report that need images: who is where, and why."""

import os
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
import torchreid

from torchreid_daam.delivery.figures import (
    Tile,
    attention_overlays,
    embedding_figure,
    image_rows,
    tsne,
)
from torchreid_daam.delivery.looking import attention_weights, embeddings
from torchreid_daam.delivery.records import last_labels
from torchreid_daam.delivery.report import Picture, Scatter, Section
from torchreid_daam.errors import InputError
from torchreid_daam.model import DAAM
from torchreid_daam.randomness import key_generator
from torchreid_daam.report_material import Material

# Bounds, so that a large data set costs no more than a small one.
SCANNED, FAIR, EXTREME = 300, 4, 2
POINTS, NAMED = 250, 4
QUERIES, GALLERY, LISTS, DEPTH = 60, 2000, 3, 8
CLUSTERS, MEMBERS, LEAST = 3, 9, 3


def sample(count: int, most: int, *key: str) -> list[int]:
    """At most so many indices below ``count``, in order, by a key."""
    chosen = key_generator(0, 'report', *key).permutation(count)[:most]
    return sorted(chosen.tolist())


def overlays(material: Material) -> Callable[[Section], None]:
    """DSH and DSP weights on the target's training images (Fig. 7)."""

    def fill(part: Section) -> None:
        data = sorted(d[0] for d in _target(material))
        paths = [data[i] for i in sample(len(data), SCANNED, 'overlays')]
        paths, images = material.pictures.whole(paths, lambda p: p)
        weights = attention_weights(material.model, images)
        if not weights:
            raise InputError(
                'model.daam.attention=none: this model has no attention'
            )
        mean = weights['DSH'].mean(axis=(1, 2))
        order = np.argsort(mean, kind='stable')
        few = min(EXTREME, len(paths))
        fair = sample(len(paths), FAIR, 'fair')
        chosen = [*fair, *order[:few], *order[-few:]]
        titles = ['fair'] * len(fair) + ['least DSH'] * few
        titles += ['most DSH'] * few
        part.notes.append(
            f'{len(fair)} images drawn at random, and of {len(paths)} those '
            'with the least and the most weight on the shared part. Warmer '
            'is greater; the bars have the numbers.'
        )
        part.pictures.append(
            Picture(
                'attention',
                attention_overlays(
                    [material.pictures.thumb(paths[i]) for i in chosen],
                    {k: w[chosen] for k, w in weights.items()},
                    titles,
                ),
                'Target images, and the weights of the domain-shared (DSH) '
                'and domain-specific (DSP) part on them.',
                wide=True,
            )
        )

    return fill


def one_overlay(material: Material, path: str) -> Callable[[Section], None]:
    """The weights on one image file."""

    def fill(part: Section) -> None:
        images = material.pictures.whole([path], lambda p: p)[1]
        weights = attention_weights(material.model, images)
        if not weights:
            raise InputError(
                'model.daam.attention=none: this model has no attention'
            )
        figure = attention_overlays(
            [material.pictures.thumb(path)], weights, ['']
        )
        name = os.path.basename(path)
        alt = f'{name}: the image, and the weights of DSH and DSP on it.'
        part.pictures.append(Picture('image', figure, alt))

    return fill


def places(material: Material) -> Callable[[Section], None]:
    """t-SNE of both domains before and after (Fig. 8)."""

    def fill(part: Section) -> None:
        entries, domains = [], []
        for name, data in _domains(material, part).items():
            data = sorted(data, key=lambda d: d[0])
            chosen = [data[i] for i in sample(len(data), POINTS, name)]
            entries += [(name, *entry[:2]) for entry in chosen]
            domains.append(name)
        entries, images = material.pictures.whole(entries, lambda e: e[1])
        groups = _groups(material, entries)
        models: dict[str, Callable[[], DAAM]] = {
            'before': lambda: material.source_model,
            'after': lambda: material.model,
        }
        panels = {}
        for title, model in models.items():
            try:
                panels[title] = tsne(embeddings(model(), images))
            except (InputError, OSError) as error:
                part.notes.append(f'No panel "{title}": {error}')
        if not panels:
            raise InputError('no model to look with')
        _show(part, panels, entries, groups, domains)

    return fill


def _show(part, panels, entries, groups, domains) -> None:
    named = sorted({g for g in groups if g})
    where = [name for name, *_ in entries]
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
        part.scatters.append(Scatter(f't-SNE, {title}', points, domains))
    for name, colours in (('domain', where), ('group', groups)):
        part.pictures.append(
            Picture(
                f'tsne-{name}',
                embedding_figure(panels, colours),
                f't-SNE of {len(entries)} images coloured by '
                + ('domain.' if name == 'domain' else 'identity or cluster.'),
                wide=len(panels) > 1,
            )
        )


def _domains(material: Material, part: Section) -> dict[str, list]:
    found = {'source': material.manager.train_loader.dataset.data}
    try:
        found['target'] = _target(material)
    except InputError as error:
        part.notes.append(f'One domain only: {error}')
    return found


def _target(material: Material) -> list[tuple]:
    loader = material.manager.train_loader_t
    if loader is None:
        raise InputError('the run has no unlabelled target')
    return loader.dataset.data


def _groups(material: Material, entries: list[tuple]) -> list[str]:
    """Names of the commonest identities and clusters, '' for the others."""
    clusters = {}
    try:
        files = last_labels(material.run)
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


def rank_lists(material: Material) -> Callable[[Section], None]:
    """What a few good and bad queries find in the target's gallery."""

    def fill(part: Section) -> None:
        name, splits = next(iter(material.manager.test_dataset.items()))
        parts = []
        for split, most in (('query', QUERIES), ('gallery', GALLERY)):
            data = sorted(splits[split], key=lambda d: d[0])
            chosen = [data[i] for i in sample(len(data), most, split)]
            parts.append(material.pictures.whole(chosen))
        (query, images_q), (gallery, images_g) = parts
        cfg = material.cfg.test
        vectors = [
            torch.from_numpy(embeddings(material.model, images))
            for images in (images_q, images_g)
        ]
        if cfg.normalize_feature:
            vectors = [torch.nn.functional.normalize(v) for v in vectors]
        distances = torchreid.metrics.compute_distance_matrix(
            *vectors, cfg.dist_metric
        ).numpy()
        scored = []
        for q, row in zip(query, distances, strict=True):
            order = allowed_order(q, gallery, row)
            right = np.array([gallery[i][1] == q[1] for i in order], bool)
            if right.any():
                scored.append((average_precision(right), q, order, right))
        if not scored:
            raise InputError(f'{name}: no query has a match; no labels?')
        scored.sort(key=lambda s: (-s[0], s[1][0]))
        part.notes.append(
            f'{name}: the best and worst of {len(scored)} queries among '
            f'{len(gallery)} gallery images. Right: ✓, solid frame; wrong: '
            '✗, dashed frame. AP is the average precision.'
        )
        few = max(1, min(LISTS, len(scored) // 2))
        for kind, some in (
            ('good', scored[:few]),
            ('bad', scored[-few:]),
        ):
            rows = [
                (f'AP {ap:.2f}', _list(material, q, gallery, order, right))
                for ap, q, order, right in some
            ]
            alt = f'Rank lists of {kind} queries; the query is at the left.'
            part.pictures.append(
                Picture(f'ranks-{kind}', _rows(material, rows), alt, wide=True)
            )

    return fill


def allowed_order(query: tuple, gallery: list, row: np.ndarray) -> list[int]:
    """Gallery by distance, without the query's person at its own camera."""
    order = np.argsort(row, kind='stable').tolist()
    own = tuple(query[1:3])
    return [i for i in order if tuple(gallery[i][1:3]) != own]


def average_precision(right: np.ndarray) -> float:
    """AP of a ranked list (G,) of right and wrong; the mean of precisions."""
    ranks = np.flatnonzero(right) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _list(material, query, gallery, order, right) -> list[Tile]:
    thumb = material.pictures.thumb
    tiles = [Tile(thumb(query[0]), 'query')]
    for rank, (i, good) in enumerate(zip(order[:DEPTH], right, strict=False)):
        title = f'{rank + 1} {"✓" if good else "✗"}'
        tiles.append(Tile(thumb(gallery[i][0]), title, bool(good)))
    return tiles


def _rows(material: Material, rows):
    height, width = material.pictures.size
    return image_rows(rows, height / width)


def clusters(material: Material) -> Callable[[Section], None]:
    """The largest, tightest and worst clusters as contact sheets."""

    def fill(part: Section) -> None:
        files = last_labels(material.run)
        labels, weights = files.labels.labels, files.labels.weights
        members = {
            int(k): np.flatnonzero(labels == k) for k in np.unique(labels)
        }
        members = {
            k: m for k, m in members.items() if k >= 0 and len(m) >= LEAST
        }
        if not members:
            raise InputError(f'no cluster has {LEAST} images')
        mean = {k: float(weights[m].mean()) for k, m in members.items()}
        kinds = {
            'largest': sorted(members, key=lambda k: -len(members[k])),
            'tightest': sorted(members, key=lambda k: -mean[k]),
            'worst': sorted(members, key=lambda k: mean[k]),
        }
        part.notes.append(
            'Tight and bad by the mean weight (Eq. 9) of their images; '
            f'clusters of fewer than {LEAST} are left out.'
        )
        for kind, ordered in kinds.items():
            rows = []
            for k in ordered[:CLUSTERS]:
                shown = members[k][np.argsort(-weights[members[k]])]
                step = np.linspace(0, len(shown) - 1, MEMBERS).round()
                shown = shown[np.unique(step.astype(int))]
                tiles = [
                    Tile(
                        material.pictures.thumb(material.file(files.names[i])),
                        f'{weights[i]:.2f}',
                    )
                    for i in shown
                ]
                rows.append((f'{k}: {len(members[k])}', tiles))
            part.pictures.append(
                Picture(
                    f'clusters-{kind}',
                    _rows(material, rows),
                    f'The {kind} clusters. At the left their number and '
                    'size, above an image its weight.',
                    wide=True,
                )
            )

    return fill

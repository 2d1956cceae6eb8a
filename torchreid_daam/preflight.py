"""The pre-flight scan: do these images and these settings make a run?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from yacs.config import CfgNode as CN

from torchreid_daam.data.lists import Lists
from torchreid_daam.data.scan import scan_images
from torchreid_daam.data.survey import (
    BLANK_SPREAD,
    Look,
    exact_copies,
    near_copies,
)
from torchreid_daam.data.tree import shown
from torchreid_daam.findings import Report
from torchreid_daam.recipe.cameras import MIN_IMAGES

# A cluster of fewer images on average has little to learn from.
FEW_PER_CLUSTER = 4
# More are likely to be something else; MSMT17 has 15.
MANY_CAMERAS = 50


def scan(cfg: CN, datamanager: Any, lists: Mapping[str, Lists]) -> Report:
    """Looks at all training images of source and target.

    Args:
        cfg: the settings, resolved.
        datamanager: torchreid's.
        lists: of the folder data sets.
    """
    report = Report()
    loaders = {
        'target': datamanager.train_loader_t,
        'source': datamanager.train_loader if cfg.data.sources else None,
    }
    domains = {
        name: [*found.dataset.data, *getattr(found.dataset, 'left_out', ())]
        for name, found in loaders.items()
        if found is not None
    }
    known = scan_images(
        [entry[0] for entries in domains.values() for entry in entries],
        cfg.data.root,
        cfg.data.save_dir,
        cfg.data.workers,
    )
    for name, entries in domains.items():
        looks = [known[entry[0]] for entry in entries]
        names = _camera_names(lists.get(f'{name}_folder'))
        figures = domain_figures(looks, [e[2] for e in entries], names, cfg)
        report.domains[name] = figures
        _judge(report, name, figures, looks, cfg)
    return report


def _camera_names(lists: Lists | None) -> list[str]:
    return lists.cameras if lists else []


def domain_figures(
    looks: Sequence[Look],
    cameras: Sequence[int],
    names: Sequence[str],
    cfg: CN,
) -> dict[str, Any]:
    """Figures of one domain's images.

    Args:
        looks: of the files.
        cameras: of the same files.
        names: of the cameras, by number; the number itself where missing.
        cfg: the settings: input size.
    """
    numbers, counts = np.unique(cameras, return_counts=True)
    good = [look for look in looks if not look.error]
    near = near_copies(looks)
    least = (cfg.data.height / 4, cfg.data.width / 4)
    tiny = [x for x in good if x.height < least[0] or x.width < least[1]]
    figures: dict[str, Any] = {
        'images': len(looks),
        'cameras': {
            names[n] if n < len(names) else str(n + 1): int(count)
            for n, count in zip(numbers, counts, strict=True)
        },
        'unreadable': len(looks) - len(good),
        'exact_copies': exact_copies(looks),
        'near_copies': None if near is None else len(near),
        'blank': sum(look.spread < BLANK_SPREAD for look in good),
        'tiny': len(tiny),
        'tiny_below': {'height': least[0], 'width': least[1]},
    }
    for name, values in (
        ('width', [look.width for look in good]),
        ('height', [look.height for look in good]),
        ('aspect', [look.height / look.width for look in good]),
    ):
        figures[name] = (
            np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
            if values
            else None
        )
    return figures


def _judge(
    report: Report,
    name: str,
    figures: Mapping[str, Any],
    looks: Sequence[Look],
    cfg: CN,
) -> None:
    """Adds problems and warnings about one domain."""
    images = figures['images']
    bad = next((look for look in looks if look.error), None)
    if bad is not None:
        skip = cfg.data.on_bad_image == 'skip'
        told = report.warnings if skip else report.problems
        told.append(
            f'{name}: {figures["unreadable"]} of {images} images can not be '
            f'read, such as {shown(bad.path)} ({bad.error}); '
            + (
                'they are left out'
                if skip
                else 'replace or remove them, or data.on_bad_image skip'
            )
        )
        images -= figures['unreadable']
    if images < cfg.train.batch_size:
        report.problems.append(
            f'{name}: {images} images are fewer than a batch of '
            f'train.batch_size={cfg.train.batch_size}'
        )
    different = images - figures['exact_copies']
    warn = report.warnings.append
    if images > 1 and different == 1:
        # Equal features can't be clustered; see guards.check_features.
        told = report.problems.append if name == 'target' else warn
        told(
            f'{name}: all images are copies of one; there is nothing to learn'
        )
    elif figures['exact_copies']:
        warn(
            f'{name}: {figures["exact_copies"]} images are copies of others, '
            'byte by byte'
        )
    if (figures['near_copies'] or 0) > images / 2:
        warn(
            f'{name}: {figures["near_copies"]} images look like another one; '
            'take fewer frames per second, or set data.tracklet_pattern'
        )
    if figures['blank']:
        warn(f'{name}: {figures["blank"]} images are blank; remove them')
    if figures['tiny'] > images / 10:
        warn(
            f'{name}: {figures["tiny"]} images are smaller than a quarter of '
            'data.height or data.width; the network will see a blur'
        )
    if name == 'target':
        _judge_target(report, figures, different, cfg)


def _judge_target(
    report: Report, figures: Mapping[str, Any], different: int, cfg: CN
) -> None:
    labels = cfg.pseudo_labels
    clusters = 0 if labels.method == 'dbscan' else labels.num_clusters
    warn = report.warnings.append
    key = f'pseudo_labels.num_clusters={clusters}'
    images = figures['images'] - figures['unreadable']
    if clusters > images:
        report.problems.append(f'target: {key} exceeds the {images} images')
    elif clusters > different:
        warn(f'target: {key} exceeds the {different} different images')
    elif clusters and images / clusters < FEW_PER_CLUSTER:
        warn(
            f'target: {key} leaves {images / clusters:.1f} images '
            'to a cluster; take fewer clusters, or more images'
        )
    _judge_cameras(report, figures, cfg)
    if len(figures['cameras']) == 1:
        warn(
            'target: all images are of one camera; data.camera_pattern can '
            'tell cameras apart'
        )
    if figures['aspect']:
        ratio = cfg.data.height / cfg.data.width
        median = figures['aspect'][2]
        if not ratio / 1.5 < median < ratio * 1.5:
            warn(
                f'target: half of the images are {median:.1f} times as high '
                f'as wide or more, the network sees {ratio:.1f}; they are '
                'stretched'
            )


def _judge_cameras(
    report: Report, figures: Mapping[str, Any], cfg: CN
) -> None:
    """Whether cameras are what centring takes them for."""
    sizes = list(figures['cameras'].values())
    if not cfg.pseudo_labels.center_cameras or len(sizes) == 1:
        return
    key = 'pseudo_labels.center_cameras=True'
    small = sum(size < MIN_IMAGES for size in sizes)
    hint = (
        'if they are folders of tracks or people, data.camera_pattern can '
        'tell cameras apart'
    )
    if small:
        report.warnings.append(
            f'target: {key}: {small} of {len(sizes)} cameras have fewer than '
            f'{MIN_IMAGES} images and are not centred; {hint}'
        )
    elif len(sizes) > MANY_CAMERAS:
        report.warnings.append(
            f'target: {key}: {len(sizes)} cameras; {hint}: centred, nothing '
            'would tell people apart'
        )

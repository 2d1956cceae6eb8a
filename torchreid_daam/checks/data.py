"""The images of a run: loading their lists, and whether they suffice."""

from collections.abc import Mapping
from typing import Any

import torchreid
from yacs.config import CfgNode as CN

from torchreid_daam.data.domains import scored_tests
from torchreid_daam.errors import InputError, one_line
from torchreid_daam.evaluation.ranks import MAX_RANK


def load_datamanager(**kwargs: Any) -> Any:
    """torchreid's ``ImageDataManager``; its failures become one line.

    Raises:
        InputError: naming the data sets and the reason.
    """
    try:
        return torchreid.data.ImageDataManager(**kwargs)
    except InputError:
        raise
    except IndexError:
        reason = 'a folder of training, query or gallery images is empty'
    except AttributeError:
        # Of a pattern that did not match.
        reason = 'unexpected file names'
    except (RuntimeError, AssertionError, OSError) as error:
        reason = one_line(error) or (
            'unexpected file names, or a sampler.* that the data can not serve'
        )
    except ValueError as error:
        reason = one_line(error)
    raise InputError(
        f'data.sources={",".join(kwargs["sources"])}, '
        f'data.targets={",".join(kwargs["targets"])} below '
        f'data.root={kwargs["root"]}: can not be loaded: {reason}'
    )


def check_data(
    cfg: CN, datamanager: Any, tracklets: Mapping[str, int] | None = None
) -> None:
    """Checks the images that were found against the settings.

    Args:
        cfg: the settings.
        datamanager: torchreid's.
        tracklets: of target images, by path; one label each.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    if cfg.cuhk03.use_metric_cuhk03:
        _check_galleries(datamanager)
    if cfg.test.evaluate:
        return  # no batch of training images is made
    parts = {}
    if cfg.data.sources:
        parts['data.sources'] = (cfg.data.sources, datamanager.train_loader)
    if cfg.data.load_train_targets:
        parts['data.targets'] = (cfg.data.targets, datamanager.train_loader_t)
    for key, (names, loader) in parts.items():
        found = len(loader.dataset)
        if found < cfg.train.batch_size:
            raise InputError(
                f'train.batch_size={cfg.train.batch_size}: '
                f'{key}={",".join(names)} has {found} training images; at '
                'most as many are allowed'
            )
    if cfg.loss.name != 'daam':
        return
    if not (cfg.data.load_train_targets and cfg.train.rounds):
        return  # nothing is clustered
    if cfg.pseudo_labels.method != 'dbscan':  # which finds its own K
        images = len(datamanager.train_loader_t.dataset)
        _check_clusters(cfg, images, len(set((tracklets or {}).values())))


def _check_clusters(cfg: CN, images: int, tracklets: int) -> None:
    """K, where it is given, or what a search for it needs."""
    labels = cfg.pseudo_labels
    clusters, least = labels.num_clusters, labels.min_clusters
    if tracklets:
        pattern = f'data.tracklet_pattern={cfg.data.tracklet_pattern}'
        number, what = tracklets, f'tracklets of {pattern}'
    else:
        number, what = images, 'target images'
    if clusters > number:
        raise InputError(
            f'pseudo_labels.num_clusters={clusters}: exceeds the {number} '
            f'{what}'
        )
    searched = labels.cluster_search != 'rule'
    if searched and number < max(2, least):
        raise InputError(
            f'pseudo_labels.num_clusters=0: {number} {what} are too few to '
            f'search for clusters, {max(2, least)} or more expected'
        )
    if not searched and clusters < least:
        raise InputError(
            f'pseudo_labels.num_clusters={clusters}: fewer than '
            f'pseudo_labels.min_clusters={least}, below which a run stops'
        )


def _check_galleries(datamanager: Any) -> None:
    """torchreid's metric of CUHK03 fails where a curve ends early."""
    for name, splits in scored_tests(datamanager).items():
        # A query's own identity may not count, for its camera.
        people = len({entry[1] for entry in splits['gallery']})
        if people <= MAX_RANK:
            raise InputError(
                f'cuhk03.use_metric_cuhk03=True: the gallery of {name} has '
                f'{people} identities; more than {MAX_RANK} are needed'
            )

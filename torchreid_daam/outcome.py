"""What is said about a run after its training: nothing here is trained on."""

import logging
from typing import Any

from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.oracle import by_path
from torchreid_daam.evaluation.table import health_table
from torchreid_daam.runs.folder import RunFolder

logger = logging.getLogger('torchreid_daam')


def add_oracle(
    datamanager: Any, engine: ImageDAAMEngine, folder: RunFolder
) -> None:
    """Says how right the labels were, where the target has identities.

    After the training, from the labels that were written: identities have
    no way into it.
    """
    dataset = datamanager.train_loader_t.dataset
    if getattr(dataset, 'without_identities', False):
        return
    pids = {entry[0]: entry[1] for entry in dataset.data}
    paths = engine.domains.target_paths
    names = folder.names(paths)
    for figures in folder.rounds:
        round_ = figures['round']
        try:
            found = folder.read_labels(round_)
        except InputError as error:  # somebody took the file away
            logger.warning('%s; round %d has no oracle', error, round_)
            continue
        if found.names == names:
            oracle = by_path(paths, found.labels.labels, pids)
            folder.write_round(round_, {'oracle': oracle})


def add_selection(engine: ImageDAAMEngine, folder: RunFolder) -> None:
    """The final row is that of the model that was selected."""
    selector, results = engine.selector, folder.results
    if selector.rule == 'target_map':
        note = "chosen by mAP: the target's labels were read"
        results.notes['train.select'] = note
        logger.warning('train.select=target_map: %s', note)
    if not selector.scores:
        return
    results.finish(selector.best)
    logger.info(
        'selected: round %d (%s)',
        selector.best,
        ', '.join(f'{r}: {s:.4f}' for r, s in selector.scores.items()),
    )
    known = {figures['round'] for figures in folder.rounds}
    for round_, score in selector.scores.items():
        if round_ in known:
            folder.write_round(round_, {'score': score})


def tables(folder: RunFolder) -> str:
    """Results and figures of the rounds, where there are any."""
    parts = []
    if folder.results.rows:
        parts.append(folder.results.table())
    if folder.rounds:
        parts.append(health_table(folder.rounds))
    return '\n\n'.join(parts)

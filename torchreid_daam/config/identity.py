"""Which settings can move a result, and a digest of them."""

import hashlib
import json

from yacs.config import CfgNode as CN

from torchreid_daam.config.reading import flatten
from torchreid_daam.config.tree import get_default_config

# Keys that can't move a number of results.json.
SILENT_KEYS = (
    'report',
    'data.save_dir',
    'data.root',
    'data.workers',
    'data.cache',
    'data.load_train_targets',
    'use_gpu',
    'model.resume',
    'train.preflight',
    'train.print_freq',
    'train.checkpoint_minutes',
    'train.keep_last',
    'pseudo_labels.max_memory_gb',
    'test.eval_freq',
    'test.start_eval',
    'test.evaluate',
    'test.visrank',
    'test.visrank_topk',
    'test.ranks',
)
# Keys that a resumed run may have other values of.
RESUME_KEYS = (
    *SILENT_KEYS,
    'device',
    'train.rounds',
    'train.max_epoch',
    'train.on_nan',
    'train.max_nan',
    'pseudo_labels.min_clusters',
    'pseudo_labels.max_share',
)


def config_hash(cfg: CN) -> str:
    """Digest of the settings that differ from their default and matter."""
    default = flatten(get_default_config())
    silent = set(SILENT_KEYS)
    if cfg.loss.name == 'daam':
        silent.add('train.max_epoch')  # derived from others
    if cfg.pseudo_labels.cluster_search == 'rule':
        silent.add('pseudo_labels.cluster_search')  # K says it
    moved = {
        key: value
        for key, value in flatten(cfg).items()
        if key not in silent and value != default[key]
    }
    text = json.dumps(moved, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

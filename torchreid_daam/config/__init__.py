"""Settings: the tree, reading it, checking values, handing them on."""

from torchreid_daam.config.identity import config_hash
from torchreid_daam.config.reading import flatten, merge_file, merge_options
from torchreid_daam.config.tree import get_default_config
from torchreid_daam.config.values import check_values

__all__ = [
    'check_values',
    'config_hash',
    'flatten',
    'get_default_config',
    'merge_file',
    'merge_options',
]

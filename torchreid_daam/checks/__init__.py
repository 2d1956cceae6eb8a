"""What has to hold between settings, names, data and model of a run."""

from torchreid_daam.checks.adaptation import derived_max_epoch
from torchreid_daam.checks.data import check_data, load_datamanager
from torchreid_daam.checks.images import check_images
from torchreid_daam.checks.layers import check_layers
from torchreid_daam.checks.settings import check_config
from torchreid_daam.checks.size import check_size

__all__ = [
    'check_config',
    'check_data',
    'check_images',
    'check_layers',
    'check_size',
    'derived_max_epoch',
    'load_datamanager',
]

"""DAAM for torchreid: adapts a re-identification model to other cameras.

Domain Adaptive Attention Model, arXiv:1905.10529. Importing this package
makes ``<backbone>_daam`` models, the embedded data sets, the engine and the
weighted loss known to torchreid.
"""

import warnings

with warnings.catch_warnings():
    # "Cython evaluation ... unavailable", on every import.
    warnings.filterwarnings('ignore', message='Cython evaluation')
    import torchreid  # noqa: F401

from torchreid_daam.attention import DomainAdaptiveAttention
from torchreid_daam.config import get_default_config
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.loading import load_model
from torchreid_daam.losses import DAAMLoss, WeightedCrossEntropyLoss
from torchreid_daam.model import DAAM, DAAMOutput, build_daam
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.registry import register
from torchreid_daam.run import adapt

__version__ = '0.1.0'
__all__ = [
    'DAAM',
    'DAAMLoss',
    'DAAMOutput',
    'DomainAdaptiveAttention',
    'ImageDAAMEngine',
    'PseudoLabels',
    'WeightedCrossEntropyLoss',
    'adapt',
    'build_daam',
    'get_default_config',
    'load_model',
    'register',
]

register()

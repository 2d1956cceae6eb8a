"""Two domains of drawn pedestrians: no download, no real person.

``draw`` puts a named pair of domains on disk, ``SyntheticSource`` and
``SyntheticTarget`` read it as torchreid data sets, ``selected`` chooses which.
"""

from torchreid_daam.data.synthetic.dataset import (
    SyntheticSource,
    SyntheticTarget,
    selected,
)
from torchreid_daam.data.synthetic.drawing import draw
from torchreid_daam.data.synthetic.knobs import DomainKnobs
from torchreid_daam.data.synthetic.pairs import PAIRS
from torchreid_daam.data.synthetic.sheet import contact_sheet

__all__ = [
    'PAIRS',
    'DomainKnobs',
    'SyntheticSource',
    'SyntheticTarget',
    'contact_sheet',
    'draw',
    'selected',
]

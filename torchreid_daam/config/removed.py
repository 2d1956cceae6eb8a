"""Settings that there were once, so that runs of then can still be read."""

import contextlib
from collections.abc import Mapping
from typing import Any

# With the value that did nothing; None where any did. docs/plus.md says
# what they were and why they went.
REMOVED: dict[str, Any] = {
    'loss.daam.weight_triplet': 0.0,
    'loss.daam.triplet_margin': None,
    'loss.daam.weight_assign': 0.0,
    'loss.daam.assign_temperature': None,
    'loss.daam.label_smoothing': 0.0,
    'pseudo_labels.outliers': 'drop',
    'train.source_free_from': 0,
}


def idle(key: str, value: Any) -> bool:
    """Whether a removed key has a value that did nothing."""
    if key not in REMOVED:
        return False
    nothing = REMOVED[key]
    if nothing is None or str(value) == str(nothing):
        return True
    with contextlib.suppress(TypeError, ValueError):
        return float(value) == float(nothing)
    return False


def without_idle(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by key, without removed ones that did nothing."""
    return {k: v for k, v in settings.items() if not idle(k, v)}

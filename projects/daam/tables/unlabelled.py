"""What was chosen without labels, judged by the labels afterwards.

Of a finished run on a target that has identities: the scores by which a round
was selected, and what a calibrated threshold does on the target's test images.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from yacs.config import CfgNode as CN

from torchreid_daam.calibrate_run import calibrate
from torchreid_daam.data.domains import scored_tests
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.calibration import cross_camera_pairs
from torchreid_daam.randomness import key_generator
from torchreid_daam.run_data import quiet_datamanager
from torchreid_daam.use import open_model

# The share of false accepts that is wished for.
WISHED = 0.01


def judged(cfg: CN, run: Path) -> dict[str, Any]:
    """What the record of a run keeps for the suite ``own``.

    Args:
        cfg: settings of the run.
        run: its folder.
    """
    found: dict[str, Any] = {'selection': selection_scores(run)}
    try:
        threshold = calibrate(cfg, str(run), WISHED)['threshold']
    except InputError:
        return found  # no image has a second camera
    return {**found, 'threshold': real_rates(cfg, run, threshold)}


def selection_scores(run: Path) -> dict[str, float]:
    """Scores of ``train.select health`` by round, empty for other runs."""
    lines = (run / 'rounds.jsonl').read_text(encoding='utf-8').splitlines()
    return {
        str(entry['round']): entry['score']
        for entry in map(json.loads, lines)
        if entry.get('score') is not None
    }


def real_rates(cfg: CN, run: Path, threshold: float) -> dict[str, float]:
    """False accepts and rejects among the target's test images.

    Of all pairs of two cameras among at most 2,000 of them.
    """
    opened = open_model(cfg, str(run))
    tests = scored_tests(quiet_datamanager(cfg))
    splits = tests[cfg.data.targets[0]]
    entries = {e[0]: e for e in splits['query'] + splits['gallery']}
    vectors, paths = opened.vectors(sorted(entries))
    pids = np.array([entries[path][1] for path in paths])
    cameras = np.array([entries[path][2] for path in paths])
    pairs = cross_camera_pairs(
        vectors, pids, cameras, key_generator(0, 'real rates')
    )
    within = pairs.distance <= threshold
    return {
        'false_accepts': float(within[~pairs.same].mean()),
        'false_rejects': float((~within[pairs.same]).mean()),
    }


def selection_quality(
    scores: list[float], maps: list[float]
) -> tuple[float, float, float]:
    """Regret of the selected round, of the last one, and Spearman's rho.

    Args:
        scores: of the rounds, in order.
        maps: their mAP.
    """
    # Of equal scores the latest, as ``Selector`` has it.
    chosen = max(range(len(scores)), key=lambda i: (scores[i], i))
    rho = 0.0  # where all are equal, which ranks nothing
    if len(set(scores)) > 1 and len(set(maps)) > 1:
        rho = float(spearmanr(scores, maps).statistic)
    return max(maps) - maps[chosen], max(maps) - maps[-1], rho

"""Identity switches of BoxMOT's StrongSORT with exported models.

On clips that ``hall.py`` draws, a source-only and an adapted model of each
seed take turns. Boxes are the same, so what differs between two trackers is
the model alone.

    python examples/boxmot_tracker.py --source A.onnx --adapted B.onnx

Several files after each word are models of several seeds, in one order.
Needs BoxMOT 25 (AGPL-3.0) in an environment of its own: ``make
test-tracker``. Nothing of torchreid_daam imports it.
"""

import argparse
import json
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime
from boxmot import StrongSort
from boxmot.reid.core.runtime import ReID
from hall import FRAMES, PEOPLE, TARGET, detections, draw_clip

from torchreid_daam.data.synthetic.pairs import PAIRS

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
KINDS = ('source', 'adapted')
Clip = Sequence[tuple]  # of draw_clip


class Found(NamedTuple):
    """What a tracker made of a clip."""

    switches: int
    tracks: int
    recognised: int  # of the people who came back
    returns: int


def boxes_of(found: Sequence) -> np.ndarray:
    """(N, 6): corners, confidence, class."""
    rows = [[*one.box, 0.9, 0] for one in found]
    return np.array(rows, np.float32).reshape(-1, 6)


def track(clip: Clip, model: Path, threshold: float, seed: int) -> Found:
    """Runs the tracker over a clip, and counts by who is truly where."""
    tracker = StrongSort(
        reid_weights=model,
        device='cpu',
        half=False,
        max_cos_dist=threshold,
        max_age=200,
        n_init=1,
    )
    last: dict[int, tuple[int, int]] = {}  # person -> track, frame
    switches = returns = recognised = 0
    tracks = set()
    for frame, (image, seen) in enumerate(clip):
        found = detections(seen, (seed, frame))
        image = image[:, :, ::-1].copy()
        for row in tracker.update(boxes_of(found), image):
            number, person = int(row[4]), found[int(row[7])].person
            tracks.add(number)
            if person in last:
                before, when = last[person]
                switches += before != number
                if frame - when > 10:
                    returns += 1
                    recognised += before == number
            last[person] = (number, frame)
    return Found(switches, len(tracks), recognised, returns)


def agreement(clip: Clip, model: Path, seed: int) -> tuple[float, int]:
    """How far BoxMOT's unit vectors are from the file's own, and how many.

    The file's own are those of crops that are prepared here as its metadata
    says.
    """
    told = json.loads(Path(f'{model}.metadata.json').read_text())['input']
    mean, std = np.float32(told['mean']), np.float32(told['std'])
    height, width = told['shape'][2:]
    session = onnxruntime.InferenceSession(model)
    reid = ReID(model, device='cpu')
    worst, number = 0.0, 0
    for frame in range(100, len(clip), 50):
        image = clip[frame][0]
        boxes = boxes_of(detections(clip[frame][1], (seed, frame)))[:, :4]
        crops = []
        for x1, y1, x2, y2 in boxes.round().astype(int):
            crop = image[max(y1, 0) : y2, max(x1, 0) : x2]
            crop = np.float32(cv2.resize(crop, (width, height))) / 255
            crops.append(((crop - mean) / std).transpose(2, 0, 1))
        if not crops:
            continue
        v = session.run(None, {told['name']: np.stack(crops)})[0]
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        theirs = reid(image[:, :, ::-1].copy(), boxes)
        worst = max(worst, float(np.abs(v - theirs).max()))
        number += len(v)
    return worst, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for kind in KINDS:
        parser.add_argument(
            f'--{kind}', type=Path, nargs='+', required=True, metavar='ONNX'
        )
    parser.add_argument('--clips', type=int, default=6)
    parser.add_argument('--seed', type=int, default=1000)
    parser.add_argument('--frame', type=Path, help='write a frame as PNG')
    args = parser.parse_args()
    if len(args.source) != len(args.adapted):
        parser.error('--source, --adapted: as many files of each')
    logging.disable(logging.WARNING)
    knobs = PAIRS['demo'][TARGET]
    seeds = range(args.seed, args.seed + 1 + args.clips)
    clips = {seed: draw_clip(seed, knobs) for seed in seeds}
    # The threshold is chosen for each model on a clip that is not counted.
    first = clips.pop(args.seed)
    if args.frame:
        cv2.imwrite(str(args.frame), first[150][0][:, :, ::-1])
    print(f'{len(clips)} clips, {PEOPLE} people, {FRAMES} frames each')
    totals = []
    for pair in zip(args.source, args.adapted, strict=True):
        totals.append([counted(model, first, clips, args) for model in pair])
    report(totals)


def counted(
    model: Path, first: Clip, clips: dict[int, Clip], args: argparse.Namespace
) -> Found:
    """Sums over the clips, each of which is printed."""
    far, number = agreement(first, model, args.seed)
    tried = {
        limit: track(first, model, limit, args.seed).switches
        for limit in THRESHOLDS
    }
    # The middle one of equals.
    best = [t for t in THRESHOLDS if tried[t] == min(tried.values())]
    chosen = best[len(best) // 2]
    print(
        f"\n{model.name}: BoxMOT's vectors of {number} crops differ from the "
        f"file's own by {far:.1e}\n"
        f'switches by max_cos_dist {tried}, {chosen} is taken\n'
        'clip  switches  tracks  returns recognised'
    )
    rows = []
    for seed, clip in clips.items():
        row = track(clip, model, chosen, seed)
        rows.append(row)
        print(
            f'{seed:4}  {row.switches:8}  {row.tracks:6}  '
            f'{row.recognised} of {row.returns}',
            flush=True,
        )
    return Found(*map(sum, zip(*rows, strict=True)))


def report(totals: list[list[Found]]) -> None:
    """Per pair of models, then mean and spread of the difference."""
    print('\nmodels  switches: source  adapted  returns: source  adapted')
    differences = []
    for number, (source, adapted) in enumerate(totals):
        differences.append(adapted.switches - source.switches)
        print(
            f'{number:6}  {source.switches:16}  {adapted.switches:7}  '
            f'{source.recognised} of {source.returns}  '
            f'{adapted.recognised} of {adapted.returns}'
        )
    spread = ''
    if len(differences) > 1:
        spread = f', sd {statistics.stdev(differences):.1f}'
    print(
        'adapted less source, switches: '
        f'{statistics.mean(differences):+.1f}{spread}'
    )


if __name__ == '__main__':
    main()

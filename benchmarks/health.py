"""Cost of a round's health figures: ``python benchmarks/health.py``.

Against the cheapest round there is: one pass over the target's features, one
clustering and one epoch of steps, with the smallest network. Random numbers
stand for features and images; no file is read.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from torchreid_daam import DAAMLoss, PseudoLabels, build_daam
from torchreid_daam.evaluation.health import round_figures, silhouette
from torchreid_daam.evaluation.probe import SAMPLE, look, probe_accuracy
from torchreid_daam.pseudo_labels import KMeansLabeller


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def health_seconds(args, model, features, labels) -> dict[str, float]:
    """Each part of what the observer does."""
    rng = np.random.default_rng(0)
    before = PseudoLabels(
        rng.permutation(labels.labels), labels.weights, labels.centers
    )
    cameras = rng.integers(0, 6, len(features))
    images = torch.randn(100, 3, args.height, args.width)
    half = features[:SAMPLE], features[SAMPLE : 2 * SAMPLE]
    model.eval()
    passes = [images] * (2 * SAMPLE // len(images))
    return {
        'labels': timed(lambda: round_figures(labels, before, cameras)),
        'silhouette': timed(lambda: silhouette(features, labels.labels, rng)),
        'model': timed(lambda: look(model, passes)),
        'probe': timed(lambda: probe_accuracy(*half, rng)),
    }


def step_seconds(args, model) -> float:
    """Median of some steps on a batch of both domains."""
    terms = DAAMLoss(domain_head=model.nominal)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    n = args.batch
    images = torch.randn(2 * n, 3, args.height, args.width)
    batch = {
        'is_source': torch.arange(2 * n) % 2 == 0,
        'pid_s': torch.arange(n) % 10,
        'pid_t': torch.arange(n) % 10,
        'weight_t': torch.ones(n),
        'progress': 0.5,
    }

    def step():
        loss = terms.total(terms(model(images), batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.train()
    return statistics.median(timed(step) for _ in range(8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=16000)
    parser.add_argument('--clusters', type=int, default=650)
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--height', type=int, default=64)
    parser.add_argument('--width', type=int, default=32)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(args.clusters, 256))
    features = middles[rng.integers(0, args.clusters, args.images)]
    features = features + rng.normal(size=features.shape)
    features = features.astype(np.float32)
    model = build_daam('resnet_tiny', 100, args.clusters, pretrained=False)
    labels: list[PseudoLabels] = []
    labeller = KMeansLabeller(args.clusters)
    clustering = timed(
        lambda: labels.append(labeller(features, None, None, rng))
    )
    parts = health_seconds(args, model, features, labels[0])
    step = step_seconds(args, model)
    look_seconds = parts['model'] / (2 * SAMPLE) * args.images
    steps = args.images // args.batch
    round_ = look_seconds + clustering + steps * step
    for name, seconds in parts.items():
        print(f'{name:<12}{seconds:7.2f} s')
    health = sum(parts.values())
    print(f'{"health":<12}{health:7.2f} s')
    print(
        f'{"round":<12}{round_:7.2f} s: {steps} steps of {step * 1e3:.0f} ms'
    )
    print(f'share       {health / round_:7.1%}')


if __name__ == '__main__':
    main()

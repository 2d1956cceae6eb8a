"""What each process of a run of several does; run by test_distributed.

``python several.py STEPS|ROUNDS ROOT OUT``, with torchrun's variables.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import torch

from engines import CLUSTERS, make_engine
from torchreid_daam import ImageDAAMEngine, distributed
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.synced_norm import synced

STEPS = 5


class Double(ImageDAAMEngine):
    """Computes in float64, so that rounding does not hide an error."""

    def outputs(self, imgs, batch):
        return self.model(imgs.double())

    def extract_features(self, input):
        return super().extract_features(input.double())


def engine(root, folder, **options):
    made = make_engine(root, folder, kind=Double, **options)
    made.model.double()
    if distributed.size() > 1:
        synced(made.model, cuda=False)
    return made


def steps(root, out):
    """The weights after some steps on both domains."""
    made = engine(root, out / 'log', terms=DAAMLoss(weight_orth=0.5))
    target = made.domains.target
    number = len(target.cameras)
    weights = np.linspace(0.1, 1.0, number, dtype=np.float32)
    target.set_labels(np.arange(number) % CLUSTERS, weights)
    loader = made.domains.adaptation
    loader.set_epoch('adapt', 1, 0)
    made.epoch, made.num_batches = 1, STEPS
    made.model.train()
    values = []
    for made.batch_idx, data in enumerate(itertools.islice(loader, STEPS)):
        values.append(made.forward_backward(data))
    return {'state': made.model.state_dict(), 'values': values}


def rounds(root, out):
    """Labels, features and weights of a short run."""
    labeller = distributed.SharedLabeller(KMeansLabeller(CLUSTERS))
    made = engine(root, out / f'log-{distributed.rank()}', labeller=labeller)
    made.domains._plain = doubled(made.domains._plain)
    made.run(save_dir=str(out / f'log-{distributed.rank()}'))
    return {
        'state': made.model.state_dict(),
        'labels': torch.from_numpy(made.labelling.labels.labels),
        'features': torch.from_numpy(made.target_features()),
    }


def doubled(passes):
    return lambda *args, **how: (b.double() for b in passes(*args, **how))


def main():
    what, root, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    with distributed.joined('cpu'):
        found = {'STEPS': steps, 'ROUNDS': rounds}[what](root, out)
        torch.save(found, out / f'{what}-{distributed.rank()}.pth')


if __name__ == '__main__':
    main()

"""What goes beyond the paper, in runs of a few seconds."""

import numpy as np
import pytest

from tiny import tiny_config
from torchreid_daam.config import merge_options
from torchreid_daam.run import adapt, prepare


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('recipe')


def settings(folder, name, *options):
    cfg = tiny_config(folder)
    cfg.data.save_dir = str(folder / name)
    merge_options(cfg, [str(option) for option in options])
    return cfg


def batch_labels(job, loader):
    """What is in the batches of an epoch of a round: labels of a domain."""
    domains = job.engine.domains
    count = len(domains.target_items)
    labels = np.arange(count) % 9
    domains.target.set_labels(labels, np.ones(count))
    domains.adaptation.set_epoch('adapt', 1, 0)
    return [data[loader]['pid'].tolist() for data in domains.adaptation]


PK = ('sampler.num_instances', 2)


@pytest.mark.parametrize(
    ('domain', 'key', 'name'),
    [
        ('target', 'train_sampler_t', 'PseudoIdentitySampler'),
        ('source', 'train_sampler', 'BalancedIdentitySampler'),
    ],
)
def test_balanced_batches_reach_their_domain(folder, domain, key, name):
    job = prepare(settings(folder, 'pk', f'sampler.{key}', name, *PK))
    for other in ('source', 'target'):
        sizes = {
            tuple(sorted(np.unique(batch, return_counts=True)[1]))
            for batch in batch_labels(job, other)
        }
        assert (sizes == {(2, 2, 2, 2)}) == (other == domain)


def test_a_run_with_balanced_batches(folder):
    cfg = settings(
        folder, 'balanced', 'sampler.train_sampler_t', 'PseudoIdentitySampler'
    )
    rows = adapt(cfg)['rows']
    assert [row['stage'] for row in rows][-1] == 'final'
    cfg = settings(folder, 'random')
    assert rows != adapt(cfg)['rows']

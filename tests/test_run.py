"""run.py: from settings to results, on the smallest embedded pair."""

import json

import pytest

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.errors import InputError


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """Settings and results of one small run."""
    cfg = tiny_config(tmp_path_factory.mktemp('run'))
    return cfg, adapt(cfg)


def test_adapt_returns_what_results_json_holds(done):
    cfg, results = done
    text = (cfg.save_dir / 'results.json').read_text()
    assert json.loads(text) == results
    stages = [row['stage'] for row in results['rows']]
    assert stages == ['direct', 'adabn', 'round', 'final']


def test_settings_that_were_given_are_not_changed(done):
    cfg, _ = done
    assert cfg.device == 'auto'
    assert cfg.pseudo_labels.num_clusters == 0


def test_same_run_again_gives_the_same_bits(done):
    cfg, results = done
    assert adapt(cfg) == results


def test_another_run_does_not_overwrite_it(done):
    cfg, results = done
    other = cfg.clone()
    other.train.lr = 0.02
    with pytest.raises(InputError, match='data.save_dir=.*other settings'):
        adapt(other)
    text = (cfg.save_dir / 'results.json').read_text()
    assert json.loads(text) == results


def test_a_test_writes_beside_the_run_and_scores_the_same(done):
    cfg, results = done
    before = {p: p.read_bytes() for p in cfg.save_dir.glob('*.*')}
    test = cfg.clone()
    test.test.evaluate = True
    test.model.load_weights = str(cfg.save_dir)
    row = adapt(test)['rows'][0]
    final = results['rows'][-1]
    assert row['mAP'] == final['mAP']
    assert row['rank1'] == final['rank1']
    for path in ('results.json', 'config.yaml', 'run.json'):
        path = cfg.save_dir / path
        assert path.read_bytes() == before[path]
        assert path.with_name('test-' + path.name).is_file()


def test_a_test_needs_weights(done):
    cfg = done[0].clone()
    cfg.test.evaluate = True
    with pytest.raises(InputError, match='test.evaluate=True: needs'):
        adapt(cfg)

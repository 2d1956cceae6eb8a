"""Figures 7 and 8 of the document, of tiny runs."""

import shutil
from unittest import mock

import pytest

from tables import looks as module
from tables.jobs import plan
from tables.looks import looks
from tables.pool import write_job
from tables.suites import suites
from tables.worker import work
from tiny import tiny_config
from torchreid_daam.delivery import figures

pytest.importorskip('matplotlib')  # the extra `results`
STAGES = {'full': 'final', 'supervised': 'supervised'}
SESSION = {
    'command': ['ablation.py', 'baselines'],
    'commit': 'abc1234',
    'machine': 'a processor, 2 cores',
    'workers': 2,
    'threads': 1,
    'seconds': 90.0,
}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A folder of runs, and what the suites' JSON says about them."""
    folder = tmp_path_factory.mktemp('looks')
    base = tiny_config(folder)
    base.train.pretrain_lr, base.train.lr = 0.05, 0.02
    base.train.stepsize = [1]
    rows = {row.key: row for row in suites(base)['baselines'].rows}
    found = {'baselines': {'rows': [], 'sessions': [SESSION]}}
    for key, stage in STAGES.items():
        for id_, job in plan(base, [rows[key]], [3]).items():
            write_job(job, folder / 'runs' / id_)
            record = work(folder / 'runs' / id_)
            assert record['status'] == 'done', record['reason']
        run = {'seed': 3, 'id': id_, 'status': 'done'}
        row = {'key': key, 'stage': stage, 'runs': [run]}
        found['baselines']['rows'].append(row)
    return folder, found


@pytest.fixture
def drawn():
    """The panels and groups that were drawn."""
    wraps = mock.Mock(wraps=figures.embedding_figure)
    with mock.patch.object(module, 'embedding_figure', wraps):
        yield wraps


@pytest.mark.slow
def test_both_are_drawn_with_three_panels(finished, drawn, tmp_path):
    folder, found = finished
    text = looks(found, folder, folder / 'doc.md')
    assert 'Not drawn' not in text and 'No panel' not in text
    assert 'Full DAAM, seed 3.' in text
    assert 'ablation.py baselines`: 2 at once' in text
    for name in ('fig7', 'fig8-domain', 'fig8-identity'):
        assert f'(doc/{name}.png)' in text
        assert (folder / 'doc' / f'{name}.png').read_bytes()[1:4] == b'PNG'
        assert (folder / 'doc' / f'{name}.pdf').read_bytes()[:4] == b'%PDF'
    (panels, domains), (same, people) = (c.args for c in drawn.mock_calls)
    assert list(panels) == list(same) == ['before', 'after', 'supervised']
    assert set(domains) == {'source', 'target'}
    assert 1 < len(set(people) - {''}) <= 8
    # People of the target alone have a colour.
    assert {d for d, p in zip(domains, people) if p} == {'target'}
    before = {p: p.read_bytes() for p in (folder / 'doc').iterdir()}
    moved = (folder / 'data').rename(folder / 'moved')
    assert 'Not drawn' in looks(found, folder, tmp_path / 'doc.md')
    drawn.reset_mock()
    looks(found, folder, folder / 'doc.md', str(moved))
    moved.rename(folder / 'data')
    assert looks(found, folder, folder / 'doc.md') == text
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.slow
def test_what_is_missing_is_said(finished, drawn, tmp_path):
    folder, found = finished
    shutil.copytree(folder / 'runs', tmp_path / 'runs')
    doc = tmp_path / 'doc.md'
    baselines = found['baselines']
    alone = {'baselines': {**baselines, 'rows': baselines['rows'][:1]}}
    text = looks(alone, tmp_path, doc)
    assert 'No run of the row "supervised"' in text
    assert list(drawn.mock_calls[0].args[0]) == ['before', 'after']
    assert 'f_sh: before (direct transfer), after the rounds. All' in text
    (run,) = found['baselines']['rows'][0]['runs']
    own = tmp_path / 'runs' / run['id'] / 'run'
    (own / 'checkpoints' / 'selected.pth').unlink()
    text = looks(alone, tmp_path, doc)
    for words in ('Not drawn: file=', 'No panel "after": file='):
        assert f'{words}runs/{run["id"]}/run/checkpoints/selected' in text
    assert str(tmp_path) not in text
    settings = own / 'config.yaml'
    settings.write_text(
        settings.read_text().replace('synthetic_target', 'market1501')
    )
    text = looks(alone, tmp_path, doc)
    assert text.count('market1501: only embedded data is shown') == 2
    shutil.rmtree(own)
    assert looks(alone, tmp_path, doc) == ''


def test_without_the_full_model_there_is_no_section(tmp_path):
    assert looks({}, tmp_path, tmp_path / 'doc.md') == ''

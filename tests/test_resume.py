"""runs/resume.py, and a whole run that goes on: model.resume."""

import contextlib
import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch

from layouts import picture
from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam import run as run_module
from torchreid_daam.config import (
    flatten,
    get_default_config,
    merge_options,
)
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.errors import InputError
from torchreid_daam.runs.checkpoint import FORMAT
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.history import CheckpointHistory
from torchreid_daam.runs.resume import check_origin, find_checkpoint

# Finding a checkpoint


def written(folder, *epochs):
    history = CheckpointHistory(folder / 'checkpoints', keep_last=9)
    for epoch in epochs:
        history.write({'epoch': epoch, 'batch': 0})
    return folder / 'checkpoints'


def test_nothing_is_asked():
    assert find_checkpoint('', 'log') == ''


def test_a_file_is_itself(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(InputError, match='no such file'):
        find_checkpoint(str(path), str(tmp_path))
    path.touch()
    assert find_checkpoint(str(path), str(tmp_path)) == str(path)


def test_for_a_test_a_folder_means_its_selected_model(tmp_path):
    selected = str(tmp_path / 'checkpoints' / 'selected.pth')
    assert find_checkpoint('auto', str(tmp_path), test=True) == selected
    assert find_checkpoint(str(tmp_path), 'log', test=True) == selected


@pytest.mark.parametrize('below', ('', 'checkpoints'))
def test_a_folder_stands_for_its_newest(tmp_path, below):
    path = written(tmp_path, 1, 2)
    found = find_checkpoint(str(tmp_path / below), 'log')
    assert found == str(path / 'last.pth')


def test_auto_takes_that_of_the_runs_folder(tmp_path):
    path = written(tmp_path, 1)
    assert find_checkpoint('auto', str(tmp_path)) == str(path / 'last.pth')


def test_auto_may_find_nothing(tmp_path):
    assert find_checkpoint('auto', str(tmp_path / 'new')) == ''


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(InputError, match='no checkpoint in this folder'):
        find_checkpoint(str(tmp_path), 'log')


def test_a_damaged_file_costs_one_step_back(tmp_path, caplog):
    path = written(tmp_path, 1, 2)
    damaged = (path / 'last.pth').read_bytes()[:-100]
    for name in ('last.pth', 'step-000002-000000.pth'):
        (path / name).unlink()
        (path / name).write_bytes(damaged)
    with caplog.at_level(logging.INFO):
        found = find_checkpoint('auto', str(tmp_path))
    assert found == str(path / 'step-000001-000000.pth')
    assert caplog.text.count('the one before it is tried') == 2


def test_all_damaged_is_no_fresh_start(tmp_path):
    path = written(tmp_path, 1)
    for file in path.iterdir():
        file.write_bytes(b'x')
    with pytest.raises(InputError, match='none of 2 checkpoints'):
        find_checkpoint('auto', str(tmp_path))


def test_stock_checkpoints_by_number(tmp_path):
    (tmp_path / 'model').mkdir()
    for epoch in (9, 10):
        path = tmp_path / 'model' / f'model.pth.tar-{epoch}'
        torch.save({'state_dict': {}}, path)
    assert find_checkpoint('auto', str(tmp_path), stock=True) == str(path)


# Whether it fits


def origin(**settings):
    config = flatten(get_default_config()) | settings
    return {'config': config, 'source': 's', 'target': 't'}


def state(**settings):
    return {'format': FORMAT, 'origin': origin(**settings), 'round': 2}


def refused(given, own):
    with pytest.raises(InputError) as caught:
        check_origin('a.pth', given, own)
    text = str(caught.value)
    assert text.startswith('model.resume=a.pth: ') and '\n' not in text
    return text


def test_the_same_run_goes_on():
    check_origin('a.pth', state(), origin())


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train.rounds', 9),
        ('data.workers', 7),
        ('data.root', 'elsewhere'),
        ('train.print_freq', 3),
        ('device', 'cuda'),
        ('train.keep_last', 5),
        ('pseudo_labels.max_share', 1.0),
    ],
)
def test_some_keys_may_change(key, value):
    check_origin('a.pth', state(), origin(**{key: value}))


@pytest.mark.parametrize('key', ('train.lr', 'data.height', 'train.seed'))
def test_others_are_named_with_both_values(key):
    text = refused(state(**{key: 11}), origin(**{key: 12}))
    assert f'{key} (was 11, is 12)' in text


def test_many_are_counted():
    many = {f'key{n}': n for n in range(7)}
    text = refused(state(), origin(**many))
    assert text.count('(was') == 5 and text.endswith('and 2 more')


@pytest.mark.parametrize('name', ('source', 'target'))
def test_other_data(name):
    assert f'had other {name};' in refused(state(), {**origin(), name: 'x'})


def test_rounds_are_not_cut_off():
    text = refused(state(), origin(**{'train.rounds': 1}))
    assert 'train.rounds=1 has to be' in text


def test_a_warm_up_over_all_rounds_fixes_them():
    grl = {'loss.daam.domain_loss': 'grl'}
    text = refused(state(**grl), origin(**grl, **{'train.rounds': 8}))
    assert 'warm-up' in text


@pytest.mark.parametrize('missing', ('format', 'origin'))
def test_files_of_another_kind(missing):
    given = state()
    del given[missing]
    assert 'model.load_weights' in refused(given, origin())


# Whole runs


class Killed(BaseException):
    pass


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    cfg = tiny_config(tmp_path_factory.mktemp('whole'))
    return cfg, adapt(cfg)


def killed(cfg, folder, monkeypatch, step=15):
    """A copy of the run's settings whose run ended in a step of round 1."""
    cfg = cfg.clone()
    cfg.data.save_dir = str(folder)
    original = ImageDAAMEngine.forward_backward
    left = [step]

    def forward_backward(self, data):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return original(self, data)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(ImageDAAMEngine, 'forward_backward', forward_backward)
        adapt(cfg)
    cfg.model.resume = 'auto'
    return cfg


def weights(folder):
    path = folder / 'checkpoints' / 'selected.pth'
    return torch.load(path, weights_only=True)['state_dict']


def test_auto_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch):
    cfg, results = whole
    resumed = killed(cfg, tmp_path / 'log', monkeypatch)
    resumed.data.workers = 2
    assert adapt(resumed) == results
    expected, found = weights(cfg.save_dir), weights(tmp_path / 'log')
    assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_auto_without_a_run_is_a_fresh_start(whole, tmp_path):
    cfg, results = whole
    cfg = cfg.clone()
    cfg.data.save_dir, cfg.model.resume = str(tmp_path / 'log'), 'auto'
    assert adapt(cfg) == results


def test_a_complete_run_is_left_alone(whole, caplog):
    cfg, results = whole
    cfg = cfg.clone()
    cfg.model.resume = 'auto'
    path = cfg.save_dir / 'checkpoints' / 'last.pth'
    before = path.stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        assert adapt(cfg) == results
    assert 'nothing is left to train' in caplog.text
    assert path.stat().st_mtime_ns == before


def test_a_complete_run_keeps_its_notes(tmp_path):
    """They are made after the last checkpoint."""
    cfg = tiny_config(tmp_path)
    cfg.train.rounds, cfg.train.select = 2, 'target_map'
    result = adapt(cfg)
    before = {p: p.read_bytes() for p in cfg.save_dir.glob('*.json*')}
    cfg.model.resume = 'auto'
    assert adapt(cfg) == result
    assert {p: p.read_bytes() for p in cfg.save_dir.glob('*.json*')} == before


@pytest.mark.parametrize('best', (1, 2))
def test_a_complete_run_keeps_the_round_it_chose(
    choosing, tmp_path, monkeypatch, best
):
    """Its last checkpoint's final row is that of the last round."""
    given = iter((0.5, 0.6 if best == 2 else 0.4))
    score = 'torchreid_daam.labelling.health_score'
    monkeypatch.setattr(score, lambda *_: next(given))
    results = adapt(choosing)
    (final,) = (r for r in results['rows'] if r['stage'] == 'final')
    assert final['round'] == best
    names = ('results.json', 'rounds.jsonl')
    before = [(choosing.save_dir / name).read_bytes() for name in names]
    choosing.model.resume = 'auto'
    assert adapt(choosing) == results
    after = [(choosing.save_dir / name).read_bytes() for name in names]
    assert after == before


def test_other_settings_or_labels_are_refused(whole, tmp_path, monkeypatch):
    cfg, _ = whole
    resumed = killed(cfg, tmp_path / 'log', monkeypatch)
    before = (tmp_path / 'log' / 'results.json').read_bytes()
    other = resumed.clone()
    other.train.lr = 0.5
    with pytest.raises(InputError, match=r'train\.lr \(was 0\.001, is 0\.5\)'):
        adapt(other)
    assert (tmp_path / 'log' / 'results.json').read_bytes() == before


def test_an_unfinished_run_is_not_begun_anew(whole, tmp_path, monkeypatch):
    cfg, results = whole
    resumed = killed(cfg, tmp_path / 'log', monkeypatch)
    anew = resumed.clone()
    anew.model.resume = ''
    with pytest.raises(InputError, match=r'unfinished; model\.resume auto'):
        adapt(anew)
    assert adapt(resumed) == results
    assert adapt(anew) == results  # it is complete


def test_a_complete_run_is_not_cut_short(whole, tmp_path):
    cfg, _ = whole
    folder = tmp_path / 'log'
    shutil.copytree(cfg.save_dir, folder)
    before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    other = cfg.clone()
    other.data.save_dir = str(folder)
    files = sorted((folder / 'checkpoints').glob('step-*.pth'))
    other.model.resume = str(files[0])
    with pytest.raises(InputError, match='all that came after this file'):
        adapt(other)
    after = {p: p.read_bytes() for p in before}
    assert after == before
    other.model.resume = str(files[-1])  # has two names
    adapt(other)
    # Elsewhere it may be gone on with.
    other.model.resume = str(files[0])
    other.data.save_dir = str(tmp_path / 'elsewhere')
    adapt(other)


@pytest.mark.parametrize('name', ['config.yaml', 'results.json'])
def test_files_of_somebody_are_not_overwritten(whole, tmp_path, name):
    cfg = whole[0].clone()
    cfg.data.save_dir = str(tmp_path / 'log')
    path = tmp_path / 'log' / name
    path.parent.mkdir()
    for text in ('mine: 1', '{"mine": 1}', 'train: {lr: 0.1}', '[['):
        path.write_text(text)
        with pytest.raises(InputError, match=f'{name} in it is not a run'):
            adapt(cfg)
        assert path.read_text() == text
        assert {p.name for p in path.parent.iterdir()} <= {name, '.lock'}


@pytest.mark.parametrize('name', ['checkpoints', 'pseudo_labels'])
def test_a_file_in_the_place_of_a_folder(whole, tmp_path, name):
    cfg = whole[0].clone()
    cfg.data.save_dir = str(tmp_path / 'log')
    (tmp_path / 'log').mkdir()
    (tmp_path / 'log' / name).touch()
    with pytest.raises(InputError, match=f'{name} in it is no folder'):
        adapt(cfg)


@pytest.mark.parametrize('part', ['query', 'bounding_box_test'])
def test_other_test_images_are_refused(whole, tmp_path, monkeypatch, part):
    cfg = whole[0].clone()
    shutil.copytree(cfg.data.root, tmp_path / 'data')
    cfg.data.root = str(tmp_path / 'data')
    resumed = killed(cfg, tmp_path / 'log', monkeypatch)
    (folder,) = (tmp_path / 'data').rglob(f'target/{part}')
    one, *_, other = sorted(folder.glob('*.jpg'))
    shutil.copy(other, one)
    with pytest.raises(InputError, match='had other tests'):
        adapt(resumed)


def test_auto_is_what_is_there_once_the_folder_is_free(
    whole, tmp_path, monkeypatch
):
    """The first process writes its first checkpoint while one waits."""
    cfg, results = whole
    waiting = cfg.clone()
    waiting.data.save_dir = str(tmp_path / 'log')
    waiting.model.resume = 'auto'
    original = run_module.owned

    @contextlib.contextmanager
    def late(folder, key):
        if not list((tmp_path / 'log').rglob('*.pth')):
            monkeypatch.setattr(run_module, 'owned', original)
            killed(cfg, tmp_path / 'log', monkeypatch)
        with original(folder, key):
            yield

    monkeypatch.setattr(run_module, 'owned', late)
    assert adapt(waiting) == results
    parts = json.loads((tmp_path / 'log' / 'run.json').read_text())['parts']
    assert len(parts) == 2


def test_more_rounds_than_the_run_had(whole, tmp_path):
    cfg, _ = whole
    longer = cfg.clone()
    longer.data.save_dir = str(tmp_path / 'longer')
    longer.train.rounds = 2
    expected = adapt(longer)
    grown = cfg.clone()
    grown.data.save_dir = str(tmp_path / 'grown')
    adapt(grown)
    grown.train.rounds, grown.model.resume = 2, 'auto'
    assert adapt(grown) == expected
    stored = json.loads((tmp_path / 'grown' / 'results.json').read_text())
    assert stored == expected


def run_and_resumed(cfg, folder, monkeypatch, step):
    """The same settings in one go, and killed in a step and resumed."""
    cfg = cfg.clone()
    cfg.data.save_dir = str(folder / 'whole')
    expected = adapt(cfg)
    resumed = killed(cfg, folder / 'parts', monkeypatch, step)
    assert adapt(resumed) == expected
    assert_equal_runs(folder / 'whole', folder / 'parts')
    return expected


def assert_equal_runs(one, other):
    for name in ('results.json', 'rounds.jsonl'):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    expected, found = weights(one), weights(other)
    assert list(found) == list(expected)
    assert all(torch.equal(found[k], expected[k]) for k in expected)


@pytest.fixture
def choosing(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train.rounds, cfg.train.select = 2, 'health'
    return cfg


# Steps of an epoch: 11. Round 1 is trained in 12 to 22.
@pytest.mark.parametrize('step', (15, 26))
def test_the_modern_recipe_survives(choosing, tmp_path, monkeypatch, step):
    settings = {
        'model.daam.dsp_branch': False,
        'loss.daam.weight_soft': 0.5,
        'pseudo_labels.sample_weights': 'none',
        'pseudo_labels.center_cameras': True,
        'train.forward': 'separate',
        'train.ema_decay': 0.9,
        'train.lr_scheduler': 'cosine',
        'train.checkpoint_minutes': 1e-6,  # after each step
        'test.feature': 'pre_relu',
    }
    merge_options(
        choosing, [str(w) for pair in settings.items() for w in pair]
    )
    run_and_resumed(choosing, tmp_path, monkeypatch, step)
    one, other = (
        torch.load(tmp_path / name / 'checkpoints/last.pth', weights_only=True)
        for name in ('whole', 'parts')
    )
    assert one['averager'].keys() == other['averager'].keys() != set()
    for name, value in one['averager'].items():
        assert torch.equal(value, other['averager'][name]), name


@pytest.mark.parametrize('step', (15, 26))
def test_the_selected_round_survives(choosing, tmp_path, monkeypatch, step):
    result = run_and_resumed(choosing, tmp_path, monkeypatch, step)
    assert [row['stage'] for row in result['rows']].count('final') == 1
    text = (tmp_path / 'parts' / 'rounds.jsonl').read_text()
    assert all('score' in json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize('method', ('write_selected', 'write_checkpoint'))
@pytest.mark.parametrize('before', (True, False))
@pytest.mark.parametrize('done', (2, 3))
def test_killed_while_a_round_ends(
    choosing, tmp_path, monkeypatch, method, before, done
):
    """Round 1 or 2 is scored; its files are not all written."""
    choosing.data.save_dir = str(tmp_path / 'whole')
    expected = adapt(choosing)
    cfg = choosing.clone()
    cfg.data.save_dir = str(tmp_path / 'parts')
    original = getattr(RunFolder, method)

    def write(self, state):
        now = state['epoch'] == done and state['recorded']
        if not (now and before):
            original(self, state)
        if now:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, method, write)
        # A round that is not chosen has no selected.pth to write.
        with contextlib.suppress(Killed):
            adapt(cfg)
    cfg.model.resume = 'auto'
    assert adapt(cfg) == expected
    assert_equal_runs(tmp_path / 'whole', tmp_path / 'parts')


@pytest.mark.parametrize('name', ('selected.pth', 'step-000001-000000.pth'))
@pytest.mark.parametrize('whole_file', (True, False))
def test_killed_at_the_first_checkpoint(
    whole, tmp_path, monkeypatch, name, whole_file
):
    """Nothing is there to go on from, but `checkpoints` is: a fresh start."""
    cfg, results = whole
    cfg = cfg.clone()
    cfg.data.save_dir, cfg.model.resume = str(tmp_path / 'log'), 'auto'
    original = os.replace

    def replace(there, path):
        if Path(path).name != name:
            return original(there, path)
        if whole_file:
            original(there, path)
        else:
            # As a kill leaves it: the temporary file stays.
            shutil.copy(there, Path(there).with_name(f'.{name}.0.tmp'))
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(os, 'replace', replace)
        adapt(cfg)
    assert adapt(cfg) == results
    assert_equal_runs(cfg.save_dir, whole[0].save_dir)


def everything(folder):
    names = ('pseudo_labels/*.npz', 'results.json', 'rounds.jsonl')
    return {
        path.relative_to(folder): path.read_bytes()
        for name in names
        for path in folder.glob(name)
    }


@pytest.mark.parametrize('rule', ('last', 'health'))
@pytest.mark.parametrize('step', (15, 26))
def test_it_may_go_on_in_another_folder(tmp_path, monkeypatch, rule, step):
    """Which then holds all that the run has written, killed again or not."""
    cfg = tiny_config(tmp_path)
    cfg.train.rounds, cfg.train.select = 2, rule
    cfg.data.save_dir = str(tmp_path / 'whole')
    expected = adapt(cfg)
    resumed = killed(cfg, tmp_path / 'old', monkeypatch, step)
    before = everything(tmp_path / 'old')
    resumed.model.resume = str(tmp_path / 'old')
    again = killed(resumed, tmp_path / 'new', monkeypatch, 2)
    assert adapt(again) == expected
    assert_equal_runs(tmp_path / 'whole', tmp_path / 'new')
    assert everything(tmp_path / 'new') == everything(tmp_path / 'whole')
    assert everything(tmp_path / 'old') == before


def test_a_complete_run_may_grow_in_another_folder(whole, tmp_path):
    cfg, _ = whole
    grown = cfg.clone()
    grown.data.save_dir = str(tmp_path / 'grown')
    grown.train.rounds, grown.model.resume = 2, cfg.data.save_dir
    adapt(grown)
    labels = Path('pseudo_labels') / 'round-1.npz'
    assert (
        everything(tmp_path / 'grown')[labels]
        == (everything(cfg.save_dir)[labels])
    )


def test_killed_before_all_was_taken_along(tmp_path, monkeypatch):
    cfg = tiny_config(tmp_path)
    resumed = killed(cfg, tmp_path / 'old', monkeypatch)
    resumed.data.save_dir = str(tmp_path / 'new')
    resumed.model.resume = str(tmp_path / 'old')

    def write(*_):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(CheckpointHistory, 'write', write)
        adapt(resumed)
    adapt(resumed)
    assert (tmp_path / 'new' / 'pseudo_labels' / 'round-1.npz').is_file()


def test_checkpoints_on_another_disk(tmp_path, monkeypatch, caplog):
    """`checkpoints` is a link, and so is the way to the run's folder."""
    (tmp_path / 'big' / 'files').mkdir(parents=True)
    (tmp_path / 'log').mkdir()
    link = tmp_path / 'log' / 'checkpoints'
    link.symlink_to(tmp_path / 'big' / 'files')
    (tmp_path / 'way').symlink_to(tmp_path / 'log')
    cfg = tiny_config(tmp_path)
    cfg.train.rounds = 2
    resumed = killed(cfg, tmp_path / 'log', monkeypatch, 26)
    resumed.data.save_dir = str(tmp_path / 'way')
    with caplog.at_level(logging.WARNING):
        adapt(resumed)
    assert caplog.messages == []
    assert len((tmp_path / 'log' / 'rounds.jsonl').open().readlines()) == 2


def test_damaged_figures_are_named(tmp_path, monkeypatch):
    cfg = tiny_config(tmp_path)
    cfg.train.rounds = 2
    resumed = killed(cfg, tmp_path / 'log', monkeypatch, 26)
    (tmp_path / 'log' / 'rounds.jsonl').write_text('{"round": 1')
    with pytest.raises(InputError, match=r'rounds\.jsonl: no readable'):
        adapt(resumed)


def test_a_checkpoint_alone_is_enough(tmp_path, monkeypatch, caplog):
    cfg = tiny_config(tmp_path)
    resumed = killed(cfg, tmp_path / 'old', monkeypatch)
    shutil.copy(tmp_path / 'old/checkpoints/last.pth', tmp_path / 'a.pth')
    resumed.data.save_dir = str(tmp_path / 'new')
    resumed.model.resume = str(tmp_path / 'a.pth')
    with caplog.at_level(logging.WARNING):
        adapt(resumed)
    # The kill fell before round 1 was saved.
    assert 'not beside it' not in caplog.text
    resumed.train.rounds = 2
    shutil.copy(tmp_path / 'new/checkpoints/last.pth', tmp_path / 'a.pth')
    resumed.data.save_dir = str(tmp_path / 'newer')
    with caplog.at_level(logging.WARNING):
        adapt(resumed)
    assert 'labels of round 1 are not beside it' in caplog.text


def test_a_runs_time_is_that_of_its_parts(tmp_path, monkeypatch):
    resumed = killed(tiny_config(tmp_path), tmp_path / 'log', monkeypatch)
    path = tmp_path / 'log' / 'checkpoints' / 'last.pth'
    [first] = torch.load(path, weights_only=True)['parts']
    adapt(resumed)
    found = json.loads((tmp_path / 'log' / 'run.json').read_text())
    assert found['parts'][0] == first and len(found['parts']) == 2
    assert found['started'] == first['started'] < found['parts'][1]['started']
    seconds = [part['seconds'] for part in found['parts']]
    assert min(seconds) > 0 and found['seconds'] == round(sum(seconds), 1)


def test_a_folder_target_goes_on(tmp_path, monkeypatch):
    """Its images lie outside data.root, and nothing is scored on it."""
    cfg = tiny_config(tmp_path)
    for camera in (1, 2):
        for i in range(16):
            path = tmp_path / 'crops' / f'cam{camera}' / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(i % 8, camera, i).save(path)
    cfg.data.target_folder = [str(tmp_path / 'crops')]
    cfg.train.rounds = 2
    assert run_and_resumed(cfg, tmp_path, monkeypatch, 26)['rows'] == []


def test_a_model_without_its_source_goes_on(whole, tmp_path, monkeypatch):
    trained, _ = whole
    cfg = tiny_config(tmp_path)
    for i in range(16):
        path = tmp_path / 'crops' / f'cam{i % 2}' / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i // 2, i % 2, i).save(path)
    cfg.data.target_folder, cfg.data.sources = [str(tmp_path / 'crops')], []
    cfg.model.load_weights = str(trained.save_dir)
    cfg.train.pretrain_epoch, cfg.loss.daam.weight_reid_t = 0, 1.0
    cfg.train.rounds = 2
    run_and_resumed(cfg, tmp_path, monkeypatch, 3)

"""The check command: what it finds, says and refuses."""

import json
import multiprocessing
import shutil
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from layouts import picture
from tiny import tiny_config
from torchreid_daam import ImageDAAMEngine, adapt, first_look, preflight
from torchreid_daam.check import check
from torchreid_daam.cli import command_main
from torchreid_daam.errors import InputError
from torchreid_daam.findings import Report
from torchreid_daam.job import prepare


def crops(folder, cameras=2, number=10, size=(16, 32)):
    for camera in range(1, cameras + 1):
        for i in range(number):
            path = folder / f'cam{camera}' / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(i, camera, 1, size).save(path)
    return folder


@pytest.fixture
def cfg(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.data.target_folder = [str(crops(tmp_path / 'crops'))]
    cfg.train.preflight = True
    return cfg


def test_each_warning_is_said_once(cfg, tmp_path, caplog):
    people = tmp_path / 'people'
    for pid in range(1, 5):
        for shot in range(4):
            path = people / f'{pid}' / f'{shot}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(pid, 1, shot).save(path)
    shutil.copytree(people, tmp_path / 'style')
    (tmp_path / 'style' / '4').rename(tmp_path / 'style' / '5')
    cfg.data.source_folder = str(people)
    cfg.data.style_folder = str(tmp_path / 'style')
    cfg.data.camera_pattern = r'(\d)\.png'
    shutil.copy(people / '1' / '0.png', tmp_path / 'crops' / 'other.png')
    report = check(cfg)
    assert not report.problems and report.run
    for line in ('does not match 1 of 21', 'have no identity of the source'):
        assert caplog.text.count(line) == 1


def test_figures(cfg, tmp_path):
    folder = tmp_path / 'crops' / 'cam1'
    shutil.copy(folder / '0.png', folder / 'copy.png')
    Image.new('RGB', (16, 32), (90, 90, 90)).save(folder / 'blank.png')
    picture(1, 1, 1, (3, 7)).save(folder / 'tiny.png')
    report = check(cfg)
    found = report.domains['target']
    assert found['images'] == 23
    assert found['cameras'] == {'cam1': 13, 'cam2': 10}
    assert found['unreadable'] == 0
    assert found['exact_copies'] == 1
    assert found['blank'] == 1
    assert found['tiny'] == 1
    assert found['width'] == [3, 16, 16, 16, 16]
    assert found['height'] == [7, 32, 32, 32, 32]
    assert found['aspect'][2] == 2
    assert report.problems == []
    assert any('1 images are copies' in line for line in report.warnings)
    assert any('1 images are blank' in line for line in report.warnings)
    written = json.loads((cfg.save_dir / 'check.json').read_text())
    assert written == json.loads(json.dumps(report.as_dict()))
    assert written['domains']['source']['images'] > 20
    text = report.text()
    assert 'cam1: 13, cam2: 10' in text
    assert '16 pixels (3 to 16)' in text
    assert 'about' in text and 'of adaptation' in text


def test_the_cost_is_that_of_the_run(cfg):
    """Within a factor of 2, of memory; seconds are those of the run.json."""
    cfg.train.pretrain_epoch, cfg.train.rounds = 6, 2
    cfg.train.round_epoch = 6
    cost = check(cfg).run
    adapt(cfg)
    real = json.loads((cfg.save_dir / 'run.json').read_text())
    assert 0.5 < cost['memory_gb'] / real['peak_memory_gb'] < 2
    # Other work on the machine makes a short time uncertain.
    assert 0.2 < cost['seconds'] / real['seconds'] < 5
    assert cost['target_images'] == 20
    assert cost['adaptation_steps'] == 2 * 6 * (cost['source_images'] // 8)


def test_unreadable_images(cfg, tmp_path, capsys):
    (tmp_path / 'crops' / 'cam2' / '3.png').write_bytes(b'no image')
    report = check(cfg)
    (line,) = report.problems
    assert '1 of 20 images can not be read' in line and '3.png' in line
    assert report.run == {}
    with pytest.raises(InputError, match=r'3\.png: not a readable image'):
        adapt(cfg)


def test_images_that_are_left_out(cfg, tmp_path):
    """The placeholder query of a target without labels may be one."""
    for camera in ('cam1', 'cam2'):
        names = sorted((tmp_path / 'crops' / camera).iterdir())
        names[0].write_bytes(b'no image')
    cfg.data.on_bad_image = 'skip'
    report = check(cfg)
    assert not report.problems
    (line,) = (w for w in report.warnings if 'can not be read' in w)
    assert '2 of 20 images' in line and 'left out' in line
    adapt(cfg)
    listed = (cfg.save_dir / 'bad_images.txt').read_text()
    assert len(listed.splitlines()) == 2
    found = json.loads((cfg.save_dir / 'check.json').read_text())
    assert found['domains'] == report.domains
    assert found['warnings'] == report.warnings


def test_too_few(cfg, tmp_path):
    shutil.rmtree(tmp_path / 'crops' / 'cam2')
    cfg.train.batch_size = 16
    assert 'fewer than a batch' in '\n'.join(check(cfg).problems)
    cfg.train.batch_size = 4
    cfg.pseudo_labels.num_clusters = 11
    assert 'exceeds the 10 images' in '\n'.join(check(cfg).problems)
    cfg.pseudo_labels.num_clusters = 4
    report = check(cfg)
    warnings = '\n'.join(report.warnings)
    assert not report.problems
    assert 'leaves 2.5 images to a cluster' in warnings
    assert 'all images are of one camera' in warnings


def test_cameras_that_may_be_none(cfg, tmp_path):
    def told():
        figures = {'cameras': dict.fromkeys(names, number)}
        report = Report()
        preflight._judge_cameras(report, figures, cfg)
        return '\n'.join(report.warnings)

    cfg.pseudo_labels.center_cameras = True
    names, number = range(6), 19
    assert '6 of 6 cameras have fewer than 20' in told()
    number = 20
    assert told() == ''
    names = range(51)
    assert '51 cameras' in told() and 'data.camera_pattern' in told()
    cfg.pseudo_labels.center_cameras = False
    assert told() == ''
    # The check asks.
    cfg.pseudo_labels.center_cameras = True
    text = '\n'.join(check(cfg).warnings)
    assert '2 of 2 cameras have fewer than 20' in text


def test_copies_of_one_image(cfg, tmp_path):
    shutil.rmtree(tmp_path / 'crops')
    crops(tmp_path / 'crops', cameras=1, number=1)
    folder = tmp_path / 'crops' / 'cam1'
    for i in range(1, 12):
        shutil.copy(folder / '0.png', folder / f'{i}.png')
    report = check(cfg)
    assert any('all images are copies of one' in p for p in report.problems)
    assert any('exceeds the 1 different' in w for w in report.warnings)


def test_other_shapes(cfg, tmp_path):
    crops(tmp_path / 'crops', size=(60, 30))
    assert any('stretched' in line for line in check(cfg).warnings)


def test_a_run_begins_with_it(cfg, capsys):
    cfg.train.pretrain_epoch, cfg.train.rounds = 2, 3
    cfg.train.print_freq = 1
    adapt(cfg)
    out = capsys.readouterr().out
    assert 'cam1: 10, cam2: 10' in out
    table, _, training = out.partition('epoch: [1/')
    assert training and 'half to twice of it' in table
    assert out.count('k-means on 20 target images') <= 1
    found = json.loads((cfg.save_dir / 'check.json').read_text())
    assert found['domains']['target']['images'] == 20
    steps = found['run']['adaptation_steps']
    assert steps == 3 * (found['run']['source_images'] // 8)
    # What is left, where it goes on.
    cfg.train.rounds, cfg.model.resume = 4, 'auto'
    adapt(cfg)
    found = json.loads((cfg.save_dir / 'check.json').read_text())
    assert found['run']['pretraining_steps'] == 0
    assert found['run']['adaptation_steps'] == steps / 3
    assert 'of adaptation left' in found['run']['shown']['steps']


@pytest.mark.parametrize('workers', (0, 2))
def test_it_moves_no_bit(tmp_path, workers):
    """Of a run on named data sets, whose draws and weights are its own."""
    found = []
    for first in (True, False):
        cfg = tiny_config(tmp_path)
        cfg.data.save_dir = str(tmp_path / str(first))
        cfg.data.workers, cfg.train.preflight = workers, first
        cfg.data.cache = 'ram'
        state = torch.get_rng_state()
        adapt(cfg)
        assert not multiprocessing.active_children()
        assert (cfg.save_dir / 'check.json').is_file() is first
        found.append((load_weights(cfg), torch.get_rng_state()))
        torch.set_rng_state(state)
    (one, drawn), (other, too) = found
    assert list(one) == list(other) and torch.equal(drawn, too)
    assert all(torch.equal(one[name], other[name]) for name in one)


def load_weights(cfg):
    path = cfg.save_dir / 'checkpoints' / 'selected.pth'
    return torch.load(path, weights_only=True)['state_dict']


def test_a_problem_ends_it_before_anything_is_trained(cfg, tmp_path, capsys):
    for path in (tmp_path / 'crops').rglob('*.png'):
        picture(1, 1, 1).save(path)
    with pytest.raises(InputError, match='all images are copies of one'):
        adapt(cfg)
    assert 'epoch: [' not in capsys.readouterr().out
    assert json.loads((cfg.save_dir / 'check.json').read_text())['problems']


def test_loading_processes_of_the_look_end_with_it(cfg, monkeypatch):
    cfg.data.workers, cfg.model.resume = 2, ''
    cfg.data.load_train_targets = True
    job, alive = prepare(cfg), []
    real, before = first_look.add_cost, set(multiprocessing.active_children())

    def measuring(*args):
        real(*args)
        alive.extend(multiprocessing.active_children())

    monkeypatch.setattr(first_look, 'add_cost', measuring)
    first_look.look_first(job)
    assert len(set(alive) - before) >= 2
    assert set(multiprocessing.active_children()) <= before


def test_the_model_of_the_look_is_gone_after_it(cfg, monkeypatch):
    cfg.data.load_train_targets = True
    job, models = prepare(cfg), []
    real = first_look.add_cost

    def measuring(report, other, later_bytes):
        real(report, other, later_bytes)
        models.append(weakref.ref(other.engine.model))

    monkeypatch.setattr(first_look, 'add_cost', measuring)
    first_look.look_first(job)
    (model,) = models
    assert model() is None


def test_a_compiled_run_goes_on(cfg, monkeypatch):
    """The model of the look is not compiled, its settings are the same."""
    compiled = []
    monkeypatch.setattr(
        torch, 'compile', lambda call: compiled.append(call) or call
    )
    cfg.train.compile = True
    adapt(cfg)
    assert len(compiled) == 1
    cfg.train.rounds, cfg.model.resume = 2, 'auto'
    adapt(cfg)
    assert len(compiled) == 2


def test_without_a_source(cfg, tmp_path):
    adapt(cfg)
    weights = cfg.save_dir / 'checkpoints' / 'selected.pth'
    cfg.data.sources, cfg.train.pretrain_epoch = [], 0
    cfg.model.load_weights = str(weights)
    cfg.data.save_dir = str(tmp_path / 'free')
    adapt(cfg)
    found = json.loads((cfg.save_dir / 'check.json').read_text())
    assert list(found['domains']) == ['target']
    assert found['run']['adaptation_steps'] == 20 // 8


def test_an_engine_of_ones_own_is_not_measured(cfg):
    class Own(ImageDAAMEngine):
        steps = 0

        def forward_backward(self, data):
            Own.steps += 1
            return super().forward_backward(data)

    adapt(cfg, engine_class=Own)
    found = json.loads((cfg.save_dir / 'check.json').read_text())
    assert found['run'] == {} and found['domains']['target']['images'] == 20
    images = found['domains']['source']['images']
    assert Own.steps == 2 * (images // 8)


def test_one_tracklet_is_too_few_for_a_search(cfg):
    cfg.pseudo_labels.cluster_search = 'silhouette'
    cfg.data.tracklet_pattern = '(png)'
    cfg.data.camera_pattern = '(png)'
    (problem,) = check(cfg).problems
    assert 'num_clusters=0: 1 tracklets of data.tracklet_pattern' in problem
    with pytest.raises(InputError, match='too few to search for clusters'):
        adapt(cfg)


def test_dbscan_takes_any_number_of_images(cfg):
    cfg.pseudo_labels.method, cfg.pseudo_labels.num_clusters = 'dbscan', 650
    cfg.pseudo_labels.k1 = 5
    assert not check(cfg).problems


def test_stock_engines_begin_at_once(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train.preflight = True
    cfg.loss.name, cfg.train.max_epoch = 'softmax', 1
    adapt(cfg)
    assert not (cfg.save_dir / 'check.json').exists()


def arguments(cfg):
    pairs = {
        'data.synthetic.pair': 'tiny',
        'model.name': cfg.model.name,
        'model.pretrained': False,
        'data.height': 32,
        'data.width': 16,
        'data.workers': 0,
        'data.save_dir': cfg.data.save_dir,
        'train.batch_size': 8,
        'pseudo_labels.num_clusters': 0,
        'train.rounds': 1,
        'train.round_epoch': 1,
    }
    words = ['--root', cfg.data.root, '-s', 'synthetic_source']
    words += ['--target-folder', *cfg.data.target_folder]
    return words + [str(word) for pair in pairs.items() for word in pair]


def test_the_command(cfg, tmp_path, capsys):
    words = arguments(cfg)
    assert command_main('check', words) == 0
    out = capsys.readouterr().out
    assert 'problems' not in out and 'cam2: 10' in out
    assert (
        command_main('check', [*words, 'pseudo_labels.num_clusters', '500'])
        == 2
    )
    captured = capsys.readouterr()
    assert 'exceeds the 20 images' in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith('error: target: pseudo_labels.num_clusters=500')
    assert command_main('check', [*words, 'loss.name', 'softmax']) == 2
    assert np.all([len(capsys.readouterr().err.splitlines()) == 1])

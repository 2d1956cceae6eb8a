"""docs/own-cameras.md: each of its commands, on drawn people."""

import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from layouts import picture
from torchreid_daam import load_model, use
from torchreid_daam.cli import main
from torchreid_daam.use import read_threshold

# Smaller than what a user would train; appended as settings.
SMALL = {
    'model.name': 'resnet_tiny_daam',
    'model.pretrained': False,
    'data.height': 32,
    'data.width': 16,
    'data.workers': 0,
    'train.batch_size': 8,
    'train.pretrain_epoch': 1,
    'train.rounds': 2,
    'train.round_epoch': 1,
}
TRAINING = ('adapt', 'check')


@pytest.fixture(scope='module')
def commands(repo):
    """Command -> its words, as the page has them."""
    text = (repo / 'docs' / 'own-cameras.md').read_text(encoding='utf-8')
    lines = ''.join(re.findall(r'```bash\n(.*?)```', text, re.DOTALL))
    found = {}
    for line in lines.replace('\\\n', ' ').splitlines():
        python, m, module, command, *rest = shlex.split(line)
        assert (python, m, module) == ('python', '-m', 'torchreid_daam')
        found[command] = [command, *rest]
    return found


@pytest.fixture(scope='module')
def done(commands, tmp_path_factory):
    """All of them in order, in a folder with crops and people."""
    folder = tmp_path_factory.mktemp('own')
    for camera, name in enumerate(('entrance', 'hall'), 1):
        for pid in range(6):
            for shot in range(2):
                path = folder / 'crops' / name / f'{pid}{shot}.jpg'
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(pid, camera, shot).save(path)
    for pid in range(20, 26):
        for shot in range(3):
            path = folder / 'people' / f'p{pid}' / f'{shot}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(pid, 1, shot).save(path)
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    small = [str(word) for pair in SMALL.items() for word in pair]
    codes = {}
    for name, words in commands.items():
        codes[name] = main(words + (small if name in TRAINING else []))
    patch.undo()
    return folder, codes


def test_they_all_work(done):
    _, codes = done
    assert codes == dict.fromkeys(
        ('check', 'adapt', 'report', 'calibrate', 'extract', 'search'), 0
    )


def test_the_report(done):
    folder, _ = done
    text = (folder / 'log/own/report.html').read_text(encoding='utf-8')
    # Nobody has a label there; all else is shown, and no image is gone.
    assert re.findall('Missing: (.*?)[ :]', text) == [
        'results.json',
        'target_folder',
    ]
    assert 'target: 00.jpg cluster' in text and 'gone' not in text
    names = {path.stem for path in (folder / 'log/own/report').glob('*.png')}
    assert {'attention', 'tsne-group', 'clusters-worst'} <= names


def test_the_check(done):
    folder, _ = done
    found = json.loads((folder / 'log/own/check.json').read_text())
    assert found['domains']['target']['cameras'] == {
        'entrance': 12,
        'hall': 12,
    }
    assert found['problems'] == []


def test_the_calibration(done):
    folder, _ = done
    path = folder / 'log/own/checkpoints/calibration.json'
    found = json.loads(path.read_text())
    assert found['basis'] == 'target' and found['source'] is None
    assert found['wished_false_accepts'] == 0.01
    low, high = found['interval']
    assert low <= found['threshold'] <= high
    assert any('few for an interval' in line for line in found['warnings'])


def test_the_vectors(done):
    folder, _ = done
    with np.load(folder / 'vectors.npz') as arrays:
        assert arrays['vector'].shape == (24, 256)
        assert len(set(arrays['path'])) == 24


def test_the_search(done):
    folder, _ = done
    found = json.loads((folder / 'matches' / 'matches.json').read_text())
    assert len(found['queries']) == 12
    calibration = folder / 'log/own/checkpoints/calibration.json'
    threshold = json.loads(calibration.read_text())['threshold']
    assert found['threshold'] == threshold
    for query in found['queries']:
        assert len(query['matches']) == 5
        for match in query['matches']:
            near = match['distance'] <= threshold
            assert match['verdict'] == ('same' if near else 'different')
            assert 'entrance' in match['path']
    assert (folder / 'matches' / 'matches.txt').stat().st_size > 500
    with Image.open(folder / 'matches' / 'matches.png') as sheet:
        assert sheet.format == 'PNG' and sheet.width > 6 * 64


def test_a_verdict_by_a_weak_threshold_says_so(done, monkeypatch, caplog):
    folder, _ = done
    monkeypatch.chdir(folder)
    threshold, warnings = read_threshold('log/own')
    assert threshold is not None
    found = json.loads((folder / 'matches' / 'matches.json').read_text())
    assert found['warnings'] == warnings
    assert any('people are too few' in line for line in warnings)
    assert 'people are too few for an interval' in caplog.text


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ('extract --model gone --images crops --out v.npz', 'gone'),
        ('extract --model log/own --images none --out v.npz', '--images=none'),
        ('extract --model log/own --images crops --out v.txt', '.csv .npz'),
        (
            'search --model log/own --query crops --gallery crops --top 0 '
            '--out m',
            '--top=0',
        ),
        (
            'search --model log/own --query crops/nope.jpg --gallery crops '
            '--out m',
            '--query=crops/nope.jpg: no such file or folder',
        ),
        ('calibrate --model log/own --far 2', '--far=2.0'),
        ('extract --model log/own', '--images, --out'),
        ('extract --model log/own --images crops --out d.npz', '--out=d.npz'),
        ('extract --model log/own --images crops --out a.txt/v.npz', '--out='),
        (
            'search --model log/own --query crops --gallery crops --out a.txt',
            '--out=a.txt: ',
        ),
        (
            'search --model log/own --query crops --gallery crops --out sheet',
            '--out=sheet: sheet/matches.png is a folder',
        ),
        (
            f'extract --model log/own --images crops --out {"v" * 300}.npz',
            'name too long',
        ),
    ],
)
def test_what_is_refused(words, expected, done, monkeypatch, capsys):
    folder, _ = done
    monkeypatch.chdir(folder)
    monkeypatch.setattr(use.Opened, 'vectors', None)  # no work before
    (folder / 'd.npz').mkdir(exist_ok=True)
    (folder / 'sheet' / 'matches.png').mkdir(parents=True, exist_ok=True)
    (folder / 'a.txt').touch()
    assert main(words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_names_that_are_not_utf_8(done, monkeypatch):
    folder, _ = done
    odd = os.fsencode(folder) + b'/odd'
    os.mkdir(odd)
    picture(0, 1, 0).save(folder / 'a.jpg')
    os.rename(folder / 'a.jpg', odd + b'/x\xff.jpg')
    monkeypatch.chdir(folder)
    words = 'extract --model log/own --images odd --out odd.csv'
    assert main(words.split()) == 0
    assert b'/x\xff.jpg' in (folder / 'odd.csv').read_bytes()


def test_home_is_found_in_out(done, monkeypatch):
    """A shell leaves ``--out=~/v.npz`` as it is."""
    folder, _ = done
    monkeypatch.chdir(folder)
    monkeypatch.setenv('HOME', str(folder))
    words = 'extract --model log/own --images crops/hall --out=~/home.npz'
    assert main(words.split()) == 0
    assert (folder / 'home.npz').is_file()


def test_images_that_are_gone(done, monkeypatch, capsys):
    folder, _ = done
    monkeypatch.chdir(folder)
    (folder / 'crops').rename(folder / 'moved')
    try:
        assert main(['calibrate', '--model', 'log/own']) == 2
    finally:
        (folder / 'moved').rename(folder / 'crops')
    (line,) = capsys.readouterr().err.splitlines()
    assert "data.target_folder=['crops']: 24 of the 24 target images" in line
    assert 'are gone' in line and 'round-2.npz' in line


def test_a_checkpoint_alone(done, tmp_path, monkeypatch, capsys, caplog):
    folder, _ = done
    alone = tmp_path / 'model.pth'
    alone.write_bytes(
        (folder / 'log/own/checkpoints/selected.pth').read_bytes()
    )
    words = ['extract', '--model', str(alone), '--images']
    words += [str(folder / 'crops'), '--out', str(tmp_path / 'v.npz')]
    assert main([*words, 'data.height', '32', 'data.width', '16']) == 0
    assert 'no config.yaml' in caplog.text
    with (
        np.load(tmp_path / 'v.npz') as one,
        np.load(folder / 'vectors.npz') as two,
    ):
        assert np.array_equal(one['vector'], two['vector'])
    assert main(['calibrate', '--model', str(alone)]) == 2
    assert 'needs the folder of its run' in capsys.readouterr().err


def test_nothing_is_downloaded(done, tmp_path, monkeypatch, capsys, caplog):
    """A run whose named source is gone, and which has no pseudo labels."""
    folder, _ = done
    run = tmp_path / 'run'
    (run / 'checkpoints').mkdir(parents=True)
    for name in ('config.yaml', 'checkpoints/selected.pth'):
        (run / name).write_bytes((folder / 'log/own' / name).read_bytes())

    def refused(*args, **kwargs):
        raise AssertionError('a download')

    monkeypatch.setattr('urllib.request.urlopen', refused)
    monkeypatch.chdir(tmp_path)
    words = ['calibrate', '--model', str(run)]
    assert main([*words, 'data.sources', 'market1501']) == 2
    line = capsys.readouterr().err
    assert 'nothing to calibrate with: no pseudo labels beside it' in line
    assert 'market1501: not below data.root' in caplog.text
    assert not (tmp_path / 'reid-data').exists()


def test_labels_of_one_camera_alone(done, tmp_path, monkeypatch, caplog):
    """Any two images make a pair then, and a warning says so."""
    folder, _ = done
    run = tmp_path / 'run'
    shutil.copytree(folder / 'log/own', run)
    path = max((run / 'pseudo_labels').glob('round-*.npz'))
    with np.load(path) as arrays:
        labels = dict(arrays)
    labels['camera'][:] = 0
    np.savez(path, **labels)
    monkeypatch.chdir(folder)
    assert main(['calibrate', '--model', str(run)]) == 0
    found = json.loads((run / 'checkpoints/calibration.json').read_text())
    assert found['basis'] == 'target'
    assert any('of one camera' in line for line in found['warnings'])
    assert 'all images are of one camera' in caplog.text
    # A cluster each: there is no pair of one person.
    labels['label'] = np.arange(len(labels['label']))
    np.savez(path, **labels)
    assert main(['calibrate', '--model', str(run)]) == 2


def test_people_of_the_source_that_were_not_trained_on(
    done, tmp_path, monkeypatch
):
    """Of the embedded source, whose query and gallery are other people."""
    folder, _ = done
    run = tmp_path / 'run'
    (run / 'checkpoints').mkdir(parents=True)
    for name in ('config.yaml', 'checkpoints/selected.pth'):
        (run / name).write_bytes((folder / 'log/own' / name).read_bytes())
    words = ['calibrate', '--model', str(run), '--far', '0.1']
    words += ['data.sources', 'synthetic_source', 'data.root', str(tmp_path)]
    assert main([*words, 'data.synthetic.pair', 'tiny']) == 0
    path = run / 'checkpoints' / 'calibration.json'
    found = json.loads(path.read_text())
    assert found['basis'] == 'source' and found['target'] is None
    assert found['source']['people'] == 6
    assert found['source']['false_accepts'] == pytest.approx(0.1, abs=0.02)


def test_people_of_a_folder_who_were_kept_back(tmp_path, monkeypatch, caplog):
    """From the run that keeps them from training to its threshold."""
    for number in range(25):
        for camera in (1, 2):
            for shot in range(2):
                name = f'people/p{number}/c{camera}_{shot}.png'
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(number, camera, shot).save(path)
                crop = tmp_path / 'crops' / f'c{camera}_{number}{shot}.png'
                crop.parent.mkdir(exist_ok=True)
                picture(number + 30, camera, shot).save(crop)
    monkeypatch.chdir(tmp_path)
    folders = ['--target-folder', 'crops', '--source-folder', 'people']
    keys = {**SMALL, 'data.camera_pattern': r'c(\d)_', 'data.save_dir': 'run'}
    keys |= {'data.source_holdout': 0.4, 'pseudo_labels.num_clusters': 8}
    small = [str(word) for pair in keys.items() for word in pair]
    assert main(['adapt', *folders, *small]) == 0
    images = json.loads((tmp_path / 'run/held_people.json').read_text())
    kept = {re.search(r'p\d+', i['path'])[0] for i in images['images']}
    assert len(kept) == 10 and len(images['images']) == 40
    model = load_model('run')
    assert model.classifier_s.out_features == 15
    command = ['calibrate', '--model', 'run', '--far', '0.1']
    assert main(command) == 0
    path = tmp_path / 'run/checkpoints/calibration.json'
    found = json.loads(path.read_text())
    assert found['basis'] == 'target'
    assert found['source']['people'] == 10
    assert found['source']['warnings'] == []
    # A test in the folder leaves the list alone.
    test = ['test.evaluate', 'True', 'model.load_weights', 'run']
    before = (tmp_path / 'run/held_people.json').read_bytes()
    named = ['-s', 'synthetic_source', '-t', 'synthetic_target']
    named += ['--root', str(tmp_path / 'data'), 'data.synthetic.pair', 'tiny']
    small[small.index('data.camera_pattern') + 1] = ''
    assert main(['adapt', *named[:6], *small, *named[6:], *test]) == 0
    assert (tmp_path / 'run/held_people.json').read_bytes() == before
    shutil.rmtree(f'people/{min(kept)}')
    assert main(command) == 0
    assert '4 of the 40 images that were kept' in caplog.text
    found = json.loads(path.read_text())
    assert found['source']['people'] == 9
    # Weights of a run that knows them.
    text = (tmp_path / 'run/config.yaml').read_text()
    assert text.count("load_weights: ''") == 1
    other = tmp_path / 'other/checkpoints/selected.pth'
    text = text.replace("load_weights: ''", f'load_weights: {other}')
    (tmp_path / 'run/config.yaml').write_text(text)
    assert main(command) == 0
    found = json.loads(path.read_text())
    assert any('other weights' in w for w in found['source']['warnings'])
    shutil.copytree('run', 'other')
    assert main(command) == 0
    found = json.loads(path.read_text())
    assert not any('other weights' in w for w in found['source']['warnings'])
    (tmp_path / 'run/held_people.json').write_text('{"images": [3]}')
    assert main(command) == 2


def test_the_modern_recipe_on_the_same_folders(done, repo, monkeypatch):
    folder, _ = done
    monkeypatch.chdir(folder)
    preset = repo / 'projects/daam/configs/market2msmt17-plus.yaml'
    small = {
        **SMALL,
        'data.save_dir': 'log/plus',
        'train.pretrain_stepsize': [],
        'pseudo_labels.k1': 6,
        'pseudo_labels.k2': 2,
        'pseudo_labels.min_samples': 2,
    }
    words = ['adapt', '--config-file', str(preset)]
    words += ['--target-folder', 'crops', '--source-folder', 'people']
    words += [str(word) for pair in small.items() for word in pair]
    assert main(words) == 0
    text = (folder / 'log/plus/config.yaml').read_text()
    assert 'target_folder' in text and 'msmt17' not in text
    found = json.loads((folder / 'log/plus/check.json').read_text())
    # Two cameras of twelve images.
    assert any('are not centred' in line for line in found['warnings'])
    assert load_model(folder / 'log/plus')(torch.zeros(1, 3, 32, 16)).min() < 0

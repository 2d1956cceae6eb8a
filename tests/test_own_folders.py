"""Folders of own images, from a tree of files to a run's results."""

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from layouts import crops, market_name, put, write_layout
from refusals import refused
from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.cli import adapt_main
from torchreid_daam.data.style import style_items
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.job import prepare

CAMERA = r'_c(\d)'


def weights(cfg, name='selected'):
    path = Path(cfg.data.save_dir) / 'checkpoints' / f'{name}.pth'
    return torch.load(path, weights_only=True)['state_dict']


def assert_same_bits(one, two):
    assert list(one) == list(two)
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_style_copies_keep_the_identity(tmp_path, caplog):
    source = [
        ('/m/0012_c3s1_1.jpg', 5, 2, 0),
        ('/m/0012_c4s1_1.jpg', 5, 3, 0),
        ('/m/0007_c1s1_1.jpg', 1, 0, 0),
    ]
    put(tmp_path / '0012_c3s1_1_fake.jpg')
    put(tmp_path / '7' / 'any.jpg')
    put(tmp_path / '0099_c1.jpg')
    items = style_items(str(tmp_path), source)
    assert {Path(p).name: rest for p, *rest in items} == {
        '0012_c3s1_1_fake.jpg': [5, 2, 0],
        'any.jpg': [1, 0, 0],
    }
    assert '1 images have no identity of the source' in caplog.text
    # Without numbers, or with one number for two people.
    bad = [('/m/anna.jpg', 0, 0, 0)]
    assert 'can not be read' in refused(style_items, str(tmp_path), bad)
    bad = [('/a/1_a.jpg', 0, 0, 0), ('/b/1_a.jpg', 1, 0, 1)]
    assert 'can not be read' in refused(style_items, str(tmp_path), bad)
    other = [('/m/55_c1.jpg', 0, 0, 0)]
    assert 'no image has an identity' in refused(
        style_items, str(tmp_path), other
    )


def test_style_copies_of_a_folder_source(tmp_path):
    for name in ('anna/1.jpg', 'bob/2.jpg'):
        put(tmp_path / 'source' / name)
    put(tmp_path / 'style' / 'bob' / 'x.jpg')
    cfg = tiny_config(tmp_path)
    cfg.data.sources = ['source_folder']
    cfg.data.source_folder = str(tmp_path / 'source')
    cfg.data.style_folder = str(tmp_path / 'style')
    cfg.data.load_train_targets = True
    cfg.train.batch_size = 2
    data = build_datamanager(cfg).train_loader.dataset.data
    assert sorted((Path(e[0]).name, e[1]) for e in data) == [
        ('1.jpg', 0),
        ('2.jpg', 1),
        ('x.jpg', 1),
    ]


def test_style_copies_of_people_who_are_kept_back(tmp_path, caplog):
    """Their files begin with a number, which may be another's folder."""
    caplog.set_level('INFO')
    for number in range(1, 41):
        for camera in (1, 2):
            for folder in ('people', 'style'):
                put(
                    tmp_path / folder / f'{number}' / f'{camera}_c{camera}.png'
                )
    cfg = tiny_config(tmp_path)
    cfg.data.sources, cfg.data.load_train_targets = ['source_folder'], True
    cfg.data.source_folder = str(tmp_path / 'people')
    cfg.data.style_folder = str(tmp_path / 'style')
    cfg.data.camera_pattern, cfg.data.source_holdout = CAMERA, 0.3
    entries = build_datamanager(cfg).train_loader.dataset.data
    people = {}
    for path, pid, *_ in entries:
        people.setdefault(Path(path).parent.name, set()).add(pid)
    assert len(people) == 28 and len(entries) == 28 * 4
    assert all(len(pids) == 1 for pids in people.values())
    assert '24 images are of people who are kept from training' in caplog.text


def test_a_target_inside_a_source_that_keeps_people_back(tmp_path):
    for number in range(40):
        for camera in (1, 2):
            put(tmp_path / 'people' / f'{number}' / f'{camera}_c{camera}.png')
    cfg = tiny_config(tmp_path)
    cfg.data.sources = ['source_folder']
    cfg.data.source_folder = str(tmp_path / 'people')
    cfg.data.camera_pattern, cfg.data.source_holdout = CAMERA, 0.3
    cfg.data.targets, cfg.data.load_train_targets = ['target_folder'], True
    for number in range(8):
        cfg.data.target_folder = [str(tmp_path / 'people' / f'{number}')]
        text = refused(build_datamanager, cfg)
        assert '2 of its 2 images are images of the source too' in text


def test_style_copies_inside_a_named_target(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.data.load_train_targets = True
    manager = build_datamanager(cfg)
    for entries in (
        manager.train_loader_t.dataset.data,
        manager.test_dataset['synthetic_target']['query'],
    ):
        number = Path(manager.train_loader.dataset.data[0][0]).name[:4]
        style = tmp_path / f'style{len(entries)}' / number
        style.mkdir(parents=True)
        (style / 'x.png').symlink_to(entries[0][0])
        cfg.data.style_folder = str(style.parent)
        text = refused(build_datamanager, cfg)
        assert '1 of its 1 images are images of the target too' in text


# Runs


def strip(cfg, folder):
    """The embedded target's training images under names without meaning."""
    entries = build_datamanager(cfg).train_loader_t.dataset.data
    names = random.Random(5).sample(range(10**6), len(entries))
    folder.mkdir()
    for (path, *_), name in zip(entries, names, strict=True):
        camera = re.search(CAMERA, Path(path).name)[1]
        shutil.copy(path, folder / f'{name} ümlaut\n_c{camera}.JPG')
    return folder


@pytest.fixture(scope='module')
def stripped(tmp_path_factory):
    """A run on the embedded pair, and one on its target without labels."""
    root = tmp_path_factory.mktemp('own')
    cfg = tiny_config(root)
    cfg.data.save_dir = str(root / 'set')
    cfg.data.load_train_targets = True
    cfg.train.rounds = 2
    other = cfg.clone()
    folder = strip(cfg, root / 'crops')
    adapt(cfg)
    other.data.save_dir = str(root / 'folder')
    other.data.camera_pattern = CAMERA
    settings = root / 'settings.yaml'
    settings.write_text(other.dump())
    other.data.target_folder = [str(folder)]
    words = ['--config-file', settings, '--target-folder', folder]
    assert adapt_main([str(word) for word in words]) == 0
    results = json.loads((root / 'folder' / 'results.json').read_text())
    return cfg, other, results


def test_a_folder_gives_the_bits_of_the_data_set(stripped):
    cfg, other, _ = stripped
    assert_same_bits(weights(cfg), weights(other))
    assert_same_bits(weights(cfg, 'last'), weights(other, 'last'))
    for number in (1, 2):
        name = f'pseudo_labels/round-{number}.npz'
        one, two = (
            np.load(Path(c.data.save_dir) / name) for c in (cfg, other)
        )
        for field in ('label', 'weight', 'camera', 'centers'):
            assert np.array_equal(one[field], two[field]), field


def test_nothing_is_scored_without_labels(stripped):
    _, _, results = stripped
    assert results['rows'] == []
    assert set(results) == {'format', 'config_hash', 'seed', 'rows'}


def test_a_labelled_part_is_scored(tmp_path):
    cfg = tiny_config(tmp_path)
    test = write_layout(tmp_path / 'test', market_name)
    cfg.data.target_folder = [str(crops(tmp_path / 'crops'))]
    cfg.data.target_test_folder = str(test)
    rows = adapt(cfg)['rows']
    assert [row['stage'] for row in rows] == [
        'direct',
        'adabn',
        'round',
        'final',
    ]
    assert {row['dataset'] for row in rows} == {'target_folder'}


def test_tracklets_share_labels_in_a_run(tmp_path):
    cfg = tiny_config(tmp_path)
    for pid in range(1, 9):
        for shot in range(3):
            put(tmp_path / 'crops' / f'c1_t{pid}_{shot}.png', pid, 1, shot)
    cfg.data.target_folder = [str(tmp_path / 'crops')]
    cfg.data.tracklet_pattern = r'_t(\d+)_'
    cfg.pseudo_labels.num_clusters = 4
    adapt(cfg)
    found = np.load(cfg.save_dir / 'pseudo_labels' / 'round-1.npz')
    labels = {}
    for path, label in zip(found['path'], found['label'], strict=True):
        tracklet = re.search(r'_t(\d+)_', str(path))[1]
        assert labels.setdefault(tracklet, label) == label
    assert len(set(labels.values())) > 1
    cfg.pseudo_labels.num_clusters = 9
    assert 'exceeds the 8 tracklets' in refused(prepare, cfg)


def test_own_source_and_own_target(tmp_path):
    cfg = tiny_config(tmp_path)
    for pid in range(1, 5):
        for shot in range(3):
            put(tmp_path / 'source' / f'{pid}' / f'{shot}.jpg', pid, 1, shot)
    cfg.data.source_folder = str(tmp_path / 'source')
    cfg.data.target_folder = [str(crops(tmp_path / 'crops'))]
    adapt(cfg)
    assert len(weights(cfg)['classifier_s.weight']) == 4


def test_a_model_without_its_source(stripped, tmp_path):
    _, trained, _ = stripped
    cfg = trained.clone()
    cfg.data.save_dir = str(tmp_path / 'run')
    cfg.data.sources = []
    cfg.model.load_weights = trained.data.save_dir
    assert 'train.pretrain_epoch=1' in refused(prepare, cfg)
    cfg.train.pretrain_epoch = 0
    adapt(cfg)
    before, after = weights(trained), weights(cfg)
    name = 'branch_dsh.fc.weight'
    assert not torch.equal(before[name], after[name])
    # Nothing told two domains apart.
    for name in ('domain.weight', 'nominal.weight'):
        assert torch.equal(before[name], after[name])


def test_a_folder_inside_the_sources(tmp_path):
    cfg = tiny_config(tmp_path)
    for pid in range(1, 5):
        for shot in range(3):
            put(tmp_path / 'all' / f'{pid}' / f'{shot}.jpg', pid, 1, shot)
    cfg.data.source_folder = str(tmp_path / 'all')
    cfg.data.target_folder = [str(tmp_path / 'all' / '2')]
    cfg.train.batch_size = 2
    text = refused(prepare, cfg)
    assert '3 of its 3 images are images of the source' in text


def test_a_labelled_part_inside_the_sources(tmp_path):
    """Its images would be trained on with labels, and then be scored."""
    cfg = tiny_config(tmp_path)
    people = tmp_path / 'people'
    write_layout(tmp_path / 'test', market_name)
    for pid in range(1, 5):
        put(people / f'{pid}' / 'own.jpg', pid)
    for part in ('query', 'bounding_box_test'):
        for path in (tmp_path / 'test' / part).iterdir():
            (people / path.name[:4]).mkdir(exist_ok=True)
            (people / path.name[:4] / path.name).symlink_to(path)
    cfg.data.source_folder = str(people)
    cfg.data.target_folder = [str(crops(tmp_path / 'crops'))]
    cfg.data.target_test_folder = str(tmp_path / 'test')
    text = refused(prepare, cfg)
    assert text.startswith(f'data.target_test_folder={tmp_path / "test"}: ')
    assert '16 of its 16 images are images of the source' in text


@pytest.mark.parametrize('part', ['crops', 'test'])
def test_style_copies_inside_the_target(tmp_path, part):
    cfg = tiny_config(tmp_path)
    for pid in range(1, 5):
        put(tmp_path / 'people' / f'{pid}' / 'own.jpg', pid)
    write_layout(tmp_path / 'test', market_name)
    style = tmp_path / part / ('style' if part == 'crops' else 'query')
    crops(tmp_path / 'crops')
    put(style / '0001_c1_7.jpg')
    cfg.data.source_folder = str(tmp_path / 'people')
    cfg.data.target_folder = [str(tmp_path / 'crops')]
    cfg.data.target_test_folder = str(tmp_path / 'test')
    cfg.data.style_folder = str(style)
    cfg.train.batch_size = 2
    text = refused(prepare, cfg)
    assert text.startswith(f'data.style_folder={style}: 1 of its 1 images')
    assert 'images of the target too' in text


def test_too_few_or_equal_images(tmp_path):
    cfg = tiny_config(tmp_path)
    folder = tmp_path / 'crops'
    put(folder / '0.png')
    cfg.data.target_folder = [str(folder)]
    assert 'target_folder has 1 training images' in refused(prepare, cfg)
    for number in range(1, 12):
        put(folder / f'{number}.png')
    cfg.pseudo_labels.num_clusters, cfg.train.preflight = 3, True
    assert 'all images are copies of one' in refused(adapt, cfg)
    assert not (cfg.save_dir / 'checkpoints').exists()


# The command


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ('data.target_folder here data.targets synthetic_target', None),
        ('data.targets target_folder', 'data.target_folder has to name'),
        ('data.sources source_folder', 'data.source_folder has to name'),
        ('data.sources no_source', 'source_folder is a source alone'),
        ('data.camera_pattern (', 'not a regular expression'),
        ('data.tracklet_pattern x', 'needs data.target_folder'),
        ('data.target_test_folder x', 'needs data.target_folder'),
        ('data.target_folder here loss.name softmax', 'only with loss.name'),
        (
            'data.target_folder here test.evaluate True model.load_weights x',
            'no identities to score',
        ),
        ('data.style_folder x data.sources ["a","b"]', 'of one source'),
        ('data.sources []', 'together with model.load_weights'),
    ],
)
def test_settings(settings, expected, tmp_path, capsys):
    crops(tmp_path / 'here')
    words = [
        str(tmp_path / word) if word == 'here' else word
        for word in settings.split()
    ]
    code = adapt_main(
        ['--dry-run', '-s', 'synthetic_source', '-t', 'synthetic_target']
        + ['--root', str(tmp_path), 'data.synthetic.pair', 'tiny']
        + ['model.name', 'resnet_tiny_daam', 'model.pretrained', 'False']
        + ['data.height', '32', 'data.width', '16', 'data.workers', '0']
        + ['train.batch_size', '4', 'pseudo_labels.num_clusters', '0']
        + words
    )
    error = capsys.readouterr().err
    if expected is None:
        assert code == 0, error
        return
    assert code == 2
    (line,) = error.splitlines()
    assert expected in line


def test_a_target_folder_needs_a_source(tmp_path, capsys):
    folder = str(crops(tmp_path / 'crops'))
    assert adapt_main(['--dry-run', '--target-folder', folder]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for way in ('-s', '--source-folder', 'model.load_weights'):
        assert way in line
    # With a model, sources that nobody named are none.
    code = adapt_main(
        ['--dry-run', '--target-folder', folder, 'model.load_weights']
        + [str(tmp_path / 'gone.pth'), 'train.pretrain_epoch', '0']
        + ['pseudo_labels.num_clusters', '0', 'train.batch_size', '4']
    )
    assert code == 2
    assert 'gone.pth: no such file' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('folder', 'sets'),
    [
        ('--source-folder', ['-s', 'market1501']),
        ('--source-folder', ['data.sources', "['market1501']"]),
        ('--target-folder', ['-t', 'dukemtmcreid']),
        ('--target-folder', ['-t', 'dukemtmcreid', 'train.lr', '0.1']),
        ('--target-folder', ['data.targets', 'dukemtmcreid']),
    ],
)
def test_a_folder_or_a_data_set(folder, sets, capsys):
    assert adapt_main(['--dry-run', folder, 'own', *sets]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    given = ' '.join(sets[:2])
    assert line == (
        f'error: {folder}=own: not together with {given}; one of them'
    )

"""data/scan.py and checks/images.py: every image decoded once, remembered."""

import collections
import json
import os
import random

import numpy as np
import pytest
import torch

from command import arguments
from layouts import DUKE, MARKET, picture, write_duke, write_market
from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.checks import check_images
from torchreid_daam.cli import adapt_main
from torchreid_daam.config import merge_options
from torchreid_daam.data import scan
from torchreid_daam.data.scan import MEMORY, scan_images
from torchreid_daam.data.seeded import source_items, target_items
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.errors import InputError
from torchreid_daam.job import prepare

TRAIN = 'bounding_box_train'


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    return root


@pytest.fixture
def paths(root):
    """Six images in two folders."""
    found = []
    for i in range(6):
        path = root / f'set{i % 2}' / f'{i}.jpg'
        path.parent.mkdir(exist_ok=True)
        picture(i, 1, 1).save(path)
        found.append(str(path))
    return found


@pytest.fixture
def decoded(monkeypatch):
    """How often each file was looked at."""
    counts, real = collections.Counter(), scan.look

    def counting(path):
        counts[os.path.basename(path)] += 1
        return real(path)

    monkeypatch.setattr(scan, 'look', counting)
    return counts


def bad_images(*args, **options):
    """What can not be decoded, and why."""
    looks = scan_images(*args, **options)
    return {path: looks[path].error for path in looks if looks[path].error}


@pytest.fixture
def find(root, tmp_path):
    def call(paths, **options):
        return bad_images(paths, root, tmp_path / 'run', **options)

    return call


# The memory


def test_each_image_is_decoded_once_then_remembered(paths, find, decoded):
    assert find(paths + paths[:2]) == {}
    assert decoded == {f'{i}.jpg': 1 for i in range(6)}
    assert find(paths) == find(list(reversed(paths))) == {}
    assert sum(decoded.values()) == 6


@pytest.mark.parametrize('change', ('size', 'time', 'both'))
def test_what_changed_is_decoded_again(change, paths, find, decoded):
    find(paths)
    decoded.clear()
    before = os.stat(paths[3])
    with open(paths[3], 'rb') as file:
        content = file.read()
    with open(paths[3], 'wb') as file:
        file.write(content + b'\0' * (change != 'time'))
    later = before.st_mtime_ns + (change != 'size')
    os.utime(paths[3], ns=(before.st_atime_ns, later))
    assert find(paths) == {}
    assert decoded == {'3.jpg': 1}
    find(paths)
    assert decoded == {'3.jpg': 1}


def test_what_is_remembered_is_what_was_seen(paths, root, tmp_path):
    first = scan_images(paths, root, tmp_path)
    again = scan_images(paths[::-1], root, tmp_path)
    assert list(first) == paths and list(again) == paths[::-1]
    assert again == first == {path: scan.look(path) for path in paths}
    (root / MEMORY).unlink()
    assert scan_images(paths, root, tmp_path, workers=2) == first


def test_a_bad_image_is_looked_at_each_time(paths, find, decoded):
    with open(paths[1], 'wb') as file:
        file.write(b'no image')
    wanted = {paths[1]: 'of no image format that is known'}
    assert find(paths) == wanted
    assert find(paths) == wanted
    assert decoded['1.jpg'] == 2
    assert decoded['0.jpg'] == 1


def test_a_dry_run_remembers_nothing(paths, root, find, decoded):
    find(paths, remember=False)
    assert not (root / MEMORY).exists()
    find(paths)
    assert decoded['0.jpg'] == 2


def test_a_moved_data_root_keeps_its_memory(paths, root, tmp_path, decoded):
    bad_images(paths, root, tmp_path)
    moved = root.rename(tmp_path / 'moved')
    paths = [path.replace(str(root), str(moved)) for path in paths]
    assert bad_images(paths, moved, tmp_path) == {}
    assert sum(decoded.values()) == 6


def test_runs_add_to_each_others_memory(paths, find, decoded, monkeypatch):
    find(paths[:3])
    real = scan._looked

    def meanwhile(paths, workers):
        """Another run finishes while this one decodes."""
        monkeypatch.setattr(scan, '_looked', real)
        find(other)
        return real(paths, workers)

    other = paths[4:]
    monkeypatch.setattr(scan, '_looked', meanwhile)
    find(paths[3:4])
    decoded.clear()
    find(paths)
    assert not decoded


def test_a_root_that_can_not_be_written_to(
    paths, root, tmp_path, find, decoded, monkeypatch
):
    def write(place, text):
        if place.parent == root:
            raise OSError(30, 'Read-only file system')
        real(place, text)

    real = scan.write_text
    monkeypatch.setattr(scan, 'write_text', write)
    assert find(paths) == find(paths) == {}
    assert sum(decoded.values()) == 6
    assert not (root / MEMORY).exists()
    assert (tmp_path / 'run' / MEMORY).is_file()


def test_no_place_for_a_memory(paths, find, decoded, monkeypatch):
    def write(place, text):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(scan, 'write_text', write)
    assert find(paths) == find(paths) == {}
    assert sum(decoded.values()) == 12


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\xff\xfe',
        b'{"rule": ',
        b'[]',
        b'3',
        b'{"files": {}}',
        b'{"rule": {"format": 0}, "files": {"a": [1, 2]}}',
        b'RULE {"files": [1]}',
        b'RULE {"files": null}',
        b'RULE {"files": {"set0/0.jpg": "x", "set1/1.jpg": [1]}}',
        b'RULE {"files": {"set0/0.jpg": ["x", null, {}]}}',
        b'RULE {"files": {"set0/0.jpg": STAMP}}',
        b'RULE {"files": {"set0/0.jpg": [STAMP, 1, 2, 3, "ab", 5]}}',
        b'RULE {"files": {"set0/0.jpg": [STAMP, 1, 2, null, "ab", "z"]}}',
    ],
)
def test_a_memory_that_is_damaged(content, paths, root, find, decoded):
    before = os.stat(paths[0])
    stamp = f'{before.st_size}, {before.st_mtime_ns}'.encode()
    content = content.replace(b'[STAMP', b'[' + stamp)
    content = content.replace(b'STAMP', b'[' + stamp + b']')
    if content.startswith(b'RULE '):
        tree = {'rule': scan.RULE, **json.loads(content[5:])}
        content = json.dumps(tree).encode()
    (root / MEMORY).write_bytes(content)
    assert find(paths) == {}
    assert sum(decoded.values()) == 6
    assert find(paths) == {}
    assert sum(decoded.values()) == 6


def test_another_pillow_decodes_again(paths, find, decoded, monkeypatch):
    find(paths)
    monkeypatch.setattr(scan, 'RULE', {**scan.RULE, 'pillow': '0'})
    find(paths)
    assert sum(decoded.values()) == 12


def test_what_was_decoded_before_an_interrupt(paths, find, decoded):
    def interrupted(data, *_):
        for i, item in enumerate(data):
            if i == 4:
                raise KeyboardInterrupt
            yield item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, 'progress', interrupted)
        with pytest.raises(KeyboardInterrupt):
            find(paths)
    decoded.clear()
    assert find(paths) == {}
    assert decoded == {'4.jpg': 1, '5.jpg': 1}


# What is found


def spoil(paths):
    """One file of each kind; gives what has to be found."""
    for path, content in ((paths[0], b''), (paths[2], b'no image')):
        with open(path, 'wb') as file:
            file.write(content)
    with open(paths[4], 'r+b') as file:
        file.truncate(os.path.getsize(paths[4]) // 2)
    os.unlink(paths[5])
    os.symlink(os.path.basename(paths[5]), paths[5])
    return {paths[i] for i in (0, 2, 4, 5)}


@pytest.mark.parametrize('workers', (0, 2))
def test_bad_images_and_their_reasons(workers, paths, find, monkeypatch):
    monkeypatch.setattr(scan, 'CHUNK', 2)
    wanted = spoil(paths)
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    bad = find(paths, workers=workers)
    assert bad.keys() == wanted
    assert bad[paths[0]] == bad[paths[2]] == 'of no image format that is known'
    assert 'truncated' in bad[paths[4]].lower()
    assert bad[paths[5]] == 'Too many levels of symbolic links'
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert np.array_equal(np.random.get_state()[1], state[2][1])


def test_a_pipe_does_not_wait_for_ever(paths, find):
    os.unlink(paths[3])
    os.mkfifo(paths[3])
    assert find(paths) == {paths[3]: 'not a regular file'}
    os.unlink(paths[3])
    os.mkdir(paths[3])
    assert find(paths) == {paths[3]: 'not a regular file'}


def test_a_missing_image_costs_no_pause(paths, find, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda _: pytest.fail('waits'))
    os.unlink(paths[3])
    assert find(paths) == {paths[3]: 'No such file or directory'}


def test_names_of_any_bytes_are_remembered(root, find, decoded):
    paths = [f'{root}/a\nb.jpg', f'{root}/\udcff.jpg', f'{root}/é.jpg']
    for path in paths:
        picture(1, 1, 1).save(path)
    assert find(paths) == find(paths) == {}
    assert sum(decoded.values()) == 3


# What a run does about it


@pytest.fixture
def config(tmp_path):
    """Of a run on small Market-1501 and DukeMTMC-reID, not yet written."""

    def build(root, *options):
        cfg = tiny_config(tmp_path)
        cfg.data.root = str(root)
        cfg.data.sources, cfg.data.targets = ['market1501'], ['dukemtmcreid']
        cfg.data.load_train_targets = True
        cfg.train.batch_size = 4
        merge_options(cfg, [str(option) for option in options])
        return cfg

    return build


@pytest.fixture
def both(root):
    write_market(root)
    write_duke(root)
    return root


def cut(folder, *turns):
    """Cuts files in half; their paths."""
    chosen = [sorted(folder.glob('*.jpg'))[turn] for turn in turns]
    for path in chosen:
        path.write_bytes(path.read_bytes()[:400])
    return [str(path) for path in chosen]


def lists(cfg):
    """What a run of these settings trains on, with bad images left out."""
    datamanager = build_datamanager(cfg)
    check_images(cfg, datamanager)
    return datamanager


def test_stop_is_one_line_and_a_list(both, config, tmp_path):
    bad = cut(both / MARKET / TRAIN, 2, 9) + cut(both / DUKE / TRAIN, 1)
    cfg = config(both)
    with pytest.raises(InputError) as caught:
        lists(cfg)
    line = str(caught.value)
    first = sorted(bad)[0]
    assert line.startswith(f'{first}: not a readable image (')
    listed = tmp_path / 'log' / 'bad_images.txt'
    assert f'1 of 3 bad images, all listed in {listed};' in line
    assert 'data.on_bad_image skip' in line
    rows = [row.split('\t') for row in listed.read_text().splitlines()]
    assert [row[0] for row in rows] == sorted(bad)
    assert all('truncated' in row[1].lower() for row in rows)
    # Repaired: the list is gone too.
    for path in bad:
        picture(1, 1, 1).save(path)
    lists(cfg)
    assert not listed.exists()


@pytest.mark.parametrize('loss', ('daam', 'softmax'))
def test_skip_equals_a_data_set_without_them(
    loss, both, config, caplog, tmp_path
):
    """One person of the source is lost as a whole."""
    bad = cut(both / MARKET / TRAIN, 2, 4, 5, 6, 7)
    bad += cut(both / DUKE / TRAIN, 1)
    rest = ('loss.name', loss, 'train.max_epoch', 1) * (loss == 'softmax')
    cfg = config(both, 'data.on_bad_image', 'skip', *rest)
    with caplog.at_level('INFO'):
        found = lists(cfg)
    listed = tmp_path / 'log' / 'bad_images.txt'
    assert caplog.messages == [
        'data.on_bad_image=skip: 6 of 32 training images left out, all '
        f'listed in {listed}'
    ]
    for path in bad:
        os.unlink(path)
    wanted = lists(config(both, *rest))
    assert found.num_train_pids == wanted.num_train_pids == 3
    for name in ('train_loader', 'train_loader_t'):
        one, other = getattr(found, name), getattr(wanted, name)
        assert len(one) == len(other)
        assert sorted(one.dataset.data) == sorted(other.dataset.data)
        assert one.dataset.train == one.dataset.data
        # torchreid's own loader, which stock engines read.
        assert sorted(one.sampler) == list(range(len(one.dataset)))
        for key in 'batch_size', 'num_workers', 'pin_memory', 'drop_last':
            assert getattr(one, key) == getattr(other, key)
    source = [
        source_items(d.train_loader.dataset.data) for d in (found, wanted)
    ]
    assert source[0] == source[1]
    assert {item.pid for item in source[0]} == {0, 1, 2}
    target = [
        target_items(d.train_loader_t.dataset.data) for d in (found, wanted)
    ]
    assert target[0] == target[1]


def test_skip_gives_the_bits_of_a_run_without_them(both, config, tmp_path):
    """Weights, labels and rows, with loading processes too."""
    bad = cut(both / MARKET / TRAIN, 2, 4, 5, 6, 7)
    bad += cut(both / DUKE / TRAIN, 1, 9)
    found = []
    for name, options in (
        ('skip', ('data.on_bad_image', 'skip', 'data.workers', 2)),
        ('gone', ()),
    ):
        cfg = config(both, 'data.save_dir', tmp_path / name, *options)
        rows = adapt(cfg)['rows']
        folder = tmp_path / name
        state = torch.load(folder / 'checkpoints' / 'selected.pth')
        with np.load(folder / 'pseudo_labels' / 'round-1.npz') as labels:
            found.append((rows, state['state_dict'], dict(labels)))
        for path in bad:
            if name == 'skip':
                os.unlink(path)
    (rows, weights, labels), (rows_2, weights_2, labels_2) = found
    assert rows == rows_2
    assert weights.keys() == weights_2.keys()
    assert all(torch.equal(weights[k], weights_2[k]) for k in weights)
    assert all(np.array_equal(labels[k], labels_2[k]) for k in labels)
    assert len(labels['label']) == 14


def test_skip_with_a_sampler_of_identities(both, config):
    bad = cut(both / MARKET / TRAIN, 4, 5, 6, 7)
    cfg = config(
        *(both, 'data.on_bad_image', 'skip', 'sampler.num_instances', 2),
        *('sampler.train_sampler', 'RandomIdentitySampler'),
    )
    loader = lists(cfg).train_loader
    data = loader.dataset.data
    chosen = list(loader.sampler)
    assert chosen and max(chosen) < len(data) == 12
    assert not {data[i][0] for i in chosen} & set(bad)


def test_skip_that_leaves_nothing_for_a_sampler(both, config):
    cut(both / MARKET / TRAIN, 0, 1, 4, 5, 8, 9, 12, 13)  # one camera
    cfg = config(
        *(both, 'data.on_bad_image', 'skip', 'sampler.num_cams', 2),
        *('sampler.train_sampler', 'RandomDomainSampler'),
    )
    with pytest.raises(InputError, match='RandomDomainSampler: not with'):
        lists(cfg)


@pytest.mark.parametrize('part', ('query', 'bounding_box_test'))
def test_skip_does_not_hold_for_a_test(part, both, config):
    (trained,) = cut(both / MARKET / TRAIN, 0)
    (tested,) = cut(both / DUKE / part, 0)
    with pytest.raises(InputError) as caught:
        lists(config(both, 'data.on_bad_image', 'skip'))
    line = str(caught.value)
    assert line.startswith(f'{tested}: not a readable image')
    assert '1 of 2 bad images' in line
    assert '1 in query or gallery, where data.on_bad_image=skip' in line
    assert trained not in line


def test_a_test_looks_at_its_own_images_only(both, config):
    cut(both / MARKET / TRAIN, 0)
    cut(both / MARKET / 'query', 0)
    cfg = config(both, 'test.evaluate', True)
    lists(cfg)
    (tested,) = cut(both / DUKE / 'query', 0)
    with pytest.raises(InputError, match=tested):
        lists(cfg)


@pytest.mark.parametrize(
    ('domain', 'turns', 'options', 'told'),
    [
        (MARKET, range(16), (), 'market1501 has 0 training images'),
        (MARKET, range(13), (), 'train.batch_size=4: data.sources=market1501'),
        (DUKE, range(13), (), 'data.targets=dukemtmcreid has 3 training'),
        (
            DUKE,
            range(4),
            ('pseudo_labels.num_clusters', 13),
            'num_clusters=13: exceeds the 12 target images',
        ),
    ],
)
def test_what_is_left_still_has_to_suffice(
    domain, turns, options, told, both, config
):
    cut(both / domain / TRAIN, *turns)
    cfg = config(both, 'data.on_bad_image', 'skip', *options)
    with pytest.raises(InputError, match=told):
        prepare(cfg)


def test_k_follows_the_images_that_are_left(root, config):
    write_market(root)
    write_duke(root, ids=15)  # 60 images: 3 of 20
    cut(root / DUKE / TRAIN, *range(20))
    job = prepare(config(root, 'data.on_bad_image', 'skip'))
    assert job.cfg.pseudo_labels.num_clusters == 2
    assert len(job.engine.domains.target_items) == 40


def test_a_dry_run_writes_no_list(both, tmp_path, capsys):
    (path,) = cut(both / MARKET / TRAIN, 0)
    before = sorted(tmp_path.rglob('*'))
    args = arguments(both, '--dry-run', save_dir=tmp_path / 'run')
    assert adapt_main(args) == 2
    line = capsys.readouterr().err
    assert line.startswith(f'error: {path}: not a readable image')
    assert '1 of 1 bad images, which the run itself lists' in line
    assert line.count('\n') == 1
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('loss', ('daam', 'softmax'))
def test_a_file_that_goes_bad_later_is_named(
    loss, both, tmp_path, capsys, monkeypatch
):
    """After the check, before it is first read for training."""
    victim = sorted((both / MARKET / TRAIN).glob('*.jpg'))[0]
    real = check_images

    def check_then_spoil(*args):
        real(*args)
        victim.write_bytes(b'')

    monkeypatch.setattr('torchreid_daam.job.check_images', check_then_spoil)
    rest = ('loss.name', 'softmax', 'train.max_epoch', 1) * (loss != 'daam')
    args = ('train.batch_size', 16, *rest)
    assert adapt_main(arguments(both, *args, save_dir=tmp_path / 'r')) == 2
    line = capsys.readouterr().err
    assert line.startswith(f'error: {victim}: not a readable image (of no')
    assert line.count('\n') == 1

"""The embedded data: what lies on disk, what is read, what knobs do."""

import contextlib
import json
import multiprocessing
import os
import re
from dataclasses import asdict, fields, replace

import cv2
import numpy as np
import pytest
import torchreid

from torchreid_daam.data import synthetic
from torchreid_daam.data.synthetic import (
    PAIRS,
    DomainKnobs,
    dataset,
    drawing,
    knobs,
)
from torchreid_daam.data.synthetic.figure import draw_person
from torchreid_daam.data.synthetic.person import (
    BAGS,
    PATTERNS,
    VIEWS,
    Pose,
    dress_person,
    strike_pose,
)
from torchreid_daam.data.synthetic.scene import set_up_camera, take_image

PARTS = ('bounding_box_train', 'query', 'bounding_box_test')
# As in torchreid's data/datasets/image/market1501.py.
MARKET = re.compile(r'([-\d]+)_c(\d)')

SMALL = DomainKnobs(
    train_ids=3,
    test_ids=2,
    cameras=3,
    cameras_per_id=(2, 3),
    images_per_camera=2,
)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    return synthetic.draw(tmp_path_factory.mktemp('drawn'), 'tiny', 0)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*.jpg'))
    }


def parsed(folder):
    return [
        tuple(map(int, MARKET.search(path.name).groups()))
        for path in sorted(folder.glob('*.jpg'))
    ]


def leftovers(root):
    return [name for name in os.listdir(root) if name.startswith('.')]


def photos(person_ids=range(1, 9), **changes):
    """Images of the same people under one camera, as floats."""
    chosen = replace(SMALL, **changes)
    camera = set_up_camera(0, 0, 1, chosen)
    images = [
        take_image(
            drawing.make_person(0, number, chosen),
            camera,
            chosen,
            (0, 'image', number, 1, 0),
        )
        for number in person_ids
    ]
    return np.stack(images).astype(float)


def roughness(images):
    """Mean squared step between neighbouring pixels."""
    return np.mean(np.diff(images, axis=1) ** 2)


def test_layout_and_names_are_those_of_market1501(drawn):
    for role, chosen in zip(('source', 'target'), PAIRS['tiny']):
        for part in PARTS:
            found = parsed(drawn / role / part)
            assert found
            for number, camera in found:
                assert 1 <= number <= 1501 and 1 <= camera <= chosen.cameras
        names = os.listdir(drawn / role / 'query')
        assert all(
            re.fullmatch(r'\d{4}_c\ds1_\d{6}_00\.jpg', name) for name in names
        )
        image = cv2.imread(str(drawn / role / 'query' / names[0]))
        assert image.shape == (chosen.height, chosen.width, 3)


def test_torchreids_own_market_reader_reads_a_domain(drawn, tmp_path):
    home = tmp_path / 'market1501'
    home.mkdir()
    try:
        (home / 'Market-1501-v15.09.15').symlink_to(drawn / 'target')
    except OSError:
        pytest.skip('no symbolic links here')
    read = torchreid.data.datasets.Market1501(str(tmp_path), verbose=False)
    assert read.num_train_pids == PAIRS['tiny'][1].train_ids


def test_counts_follow_the_knobs(drawn):
    chosen = PAIRS['tiny'][0]
    train = parsed(drawn / 'source' / PARTS[0])
    query = parsed(drawn / 'source' / 'query')
    gallery = parsed(drawn / 'source' / PARTS[2])
    assert len({number for number, _ in train}) == chosen.train_ids
    assert len({number for number, _ in query}) == chosen.test_ids
    for number in {number for number, _ in train}:
        cameras = [c for n, c in train if n == number]
        low, high = chosen.cameras_per_id
        assert low <= len(set(cameras)) <= high
        assert len(cameras) == len(set(cameras)) * chosen.images_per_camera
    assert len(query) == len(set(query))  # one per person and camera
    assert len(gallery) == len(query) * (chosen.images_per_camera - 1)


def test_identities_are_disjoint(drawn):
    groups = [
        {n for part in parts for n, _ in parsed(drawn / role / part)}
        for role in ('source', 'target')
        for parts in (PARTS[:1], PARTS[1:])
    ]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_largest_blocks_of_identities_do_not_touch():
    most = replace(SMALL, train_ids=knobs.MAX_IDS, test_ids=knobs.MAX_IDS)
    numbers = [
        number
        for domain in (0, 1)
        for split in drawing.person_ids(most, domain).values()
        for number in split
    ]
    assert len(set(numbers)) == 4 * knobs.MAX_IDS and max(numbers) <= 1501


def test_each_query_has_a_match_under_another_camera(drawn):
    for role in ('source', 'target'):
        gallery = parsed(drawn / role / 'bounding_box_test')
        for number, camera in parsed(drawn / role / 'query'):
            assert any(n == number and c != camera for n, c in gallery)


def test_same_seed_same_bytes_other_seed_other_bytes(drawn, tmp_path):
    again = contents(synthetic.draw(tmp_path, 'tiny', 0))
    assert again == contents(drawn)
    other = contents(synthetic.draw(tmp_path, 'tiny', 1))
    assert all(other[name] != again[name] for name in set(other) & set(again))


def test_drawing_reads_and_moves_no_global_generator(drawn, tmp_path):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    assert contents(synthetic.draw(tmp_path, 'tiny', 0)) == contents(drawn)
    assert np.array_equal(before, np.random.get_state()[1])


def test_more_people_leave_the_others_as_they_are(tmp_path):
    more = replace(SMALL, train_ids=4, test_ids=3)
    few = contents(drawing.draw_pair(tmp_path, 'few', (SMALL, SMALL), 5))
    many = contents(drawing.draw_pair(tmp_path, 'many', (more, more), 5))
    assert set(few) < set(many)
    assert all(many[name] == few[name] for name in few)


def test_what_is_there_is_not_drawn_again(tmp_path, monkeypatch):
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    monkeypatch.setattr(drawing, '_draw_domain', None)
    again = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    assert again == folder == tmp_path / 'synthetic' / 'small-0'


def test_other_knobs_are_refused_and_nothing_is_deleted(tmp_path):
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    before = contents(folder)
    noisy = replace(SMALL, noise=9.0)
    with pytest.raises(ValueError, match=r'target\.noise=3\.0') as caught:
        drawing.draw_pair(tmp_path, 'small', (SMALL, noisy), 0)
    assert str(folder) in str(caught.value) and '9.0' in str(caught.value)
    assert contents(folder) == before


def test_another_format_is_refused(tmp_path):
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    record = json.loads((folder / 'record.json').read_text())
    record['format'] = 0
    (folder / 'record.json').write_text(json.dumps(record))
    with pytest.raises(ValueError, match='format=0'):
        drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)


def test_a_record_with_more_knobs_is_refused(tmp_path):
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    record = json.loads((folder / 'record.json').read_text())
    record['source']['fog'] = 0.5
    (folder / 'record.json').write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r'source\.fog=0\.5'):
        drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)


@pytest.mark.parametrize('text', [None, '', '[]', '{"format": 1}'])
def test_a_folder_without_a_record_is_refused(tmp_path, text):
    folder = tmp_path / 'synthetic' / 'small-0'
    folder.mkdir(parents=True)
    if text is not None:
        (folder / 'record.json').write_text(text)
    with pytest.raises(ValueError, match='no readable record.json'):
        drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)


def test_a_missing_image_is_noticed(tmp_path):
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    next((folder / 'target' / 'query').iterdir()).unlink()
    with pytest.raises(ValueError, match='target/query holds'):
        drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def interrupt(*args):
        calls.append(args)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return take_image(*args)

    with monkeypatch.context() as patch:
        patch.setattr(drawing, 'take_image', interrupt)
        with pytest.raises(KeyboardInterrupt):
            drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    assert os.listdir(tmp_path / 'synthetic') == []
    assert contents(drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0))


@pytest.mark.skipif(not hasattr(os, 'sync'), reason='Windows has no sync')
def test_images_are_on_the_disk_before_their_folder(tmp_path, monkeypatch):
    there = []

    def sync():
        there.extend(path.name for path in tmp_path.glob('synthetic/*'))
        there.extend(tmp_path.glob('synthetic/*/record.json'))

    monkeypatch.setattr(os, 'sync', sync)
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    name, record = there
    assert name.startswith('.small-0.') and record.name == 'record.json'
    assert folder.is_dir()
    drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    assert len(there) == 2  # what is there needs no other flush


def test_what_a_killed_process_left_does_not_hurt(tmp_path):
    left = tmp_path / 'synthetic' / '.small-0.0123.tmp' / 'source' / 'query'
    left.mkdir(parents=True)
    (left / '0001_c1s1_000001_00.jpg').write_bytes(b'half')
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    assert all(len(data) > 100 for data in contents(folder).values())


def test_the_slower_of_two_drawings_takes_what_is_there(tmp_path, monkeypatch):
    plain = drawing._draw_domain

    def overtaken(*args):
        monkeypatch.setattr(drawing, '_draw_domain', plain)
        drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
        return plain(*args)

    monkeypatch.setattr(drawing, '_draw_domain', overtaken)
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    assert contents(folder)
    assert leftovers(tmp_path / 'synthetic') == []


def _draw_tiny(root, barrier):
    barrier.wait(500)
    synthetic.draw(root, 'tiny', 0)


def test_two_processes_at_once_both_end_well(drawn, tmp_path):
    context = multiprocessing.get_context('spawn')
    barrier = context.Barrier(2)
    workers = [
        context.Process(target=_draw_tiny, args=(str(tmp_path), barrier))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert contents(tmp_path / 'synthetic' / 'tiny-0') == contents(drawn)
    assert leftovers(tmp_path / 'synthetic') == []


def test_torchreids_data_manager_loads_the_selected_pair(drawn):
    for name, cls in (
        ('synthetic_source', synthetic.SyntheticSource),
        ('synthetic_target', synthetic.SyntheticTarget),
    ):
        # Unless the package has registered it.
        with contextlib.suppress(ValueError):
            torchreid.data.register_image_dataset(name, cls)
    with synthetic.selected('tiny', 0):
        manager = torchreid.data.ImageDataManager(
            root=str(drawn.parents[1]),
            sources='synthetic_source',
            targets='synthetic_target',
            height=64,
            width=32,
            batch_size_train=8,
            batch_size_test=8,
            workers=0,
            use_gpu=False,
            load_train_targets=True,
        )
    assert manager.num_train_pids == PAIRS['tiny'][0].train_ids
    assert manager.num_train_cams == PAIRS['tiny'][0].cameras
    batch = next(iter(manager.train_loader_t))
    assert batch['img'].shape == (8, 3, 64, 32)
    query = manager.test_dataset['synthetic_target']['query']
    assert len(query) == len(os.listdir(drawn / 'target' / 'query'))


def test_training_labels_are_sorted_and_start_at_0(drawn):
    with synthetic.selected('tiny', 0):
        target = synthetic.SyntheticTarget(
            str(drawn.parents[1]), verbose=False
        )
    labels = [label for _, label, _, _ in target.train]
    assert labels == sorted(labels)
    assert set(labels) == set(range(PAIRS['tiny'][1].train_ids))
    assert {camera for _, _, camera, _ in target.train} == {0, 1, 2}
    # Query and gallery keep their own numbers.
    assert min(number for _, number, _, _ in target.query) > 1000


def test_numbers_in_the_path_do_not_become_labels(tmp_path):
    root = tmp_path / 'exp7_c2'
    with synthetic.selected('tiny', 0):
        source = synthetic.SyntheticSource(str(root), verbose=False)
    assert source.num_train_pids == PAIRS['tiny'][0].train_ids


def test_selection_ends_with_its_context(tmp_path, monkeypatch):
    asked = []

    def draw(root, pair, seed):
        asked.append((pair, seed))
        raise LookupError

    monkeypatch.setattr(dataset, 'draw', draw)
    with pytest.raises(LookupError), synthetic.selected('tiny', 4):
        synthetic.SyntheticSource(str(tmp_path))
    with pytest.raises(LookupError):
        synthetic.SyntheticSource(str(tmp_path))
    assert asked == [('tiny', 4), ('demo', 0)]


def test_unknown_pair_and_bad_seed_are_refused(tmp_path):
    allowed = ', '.join(PAIRS)
    with pytest.raises(ValueError, match=f"'dmeo' is not one of {allowed}"):
        synthetic.selected('dmeo', 0).__enter__()
    with pytest.raises(ValueError, match="'dmeo'"):
        synthetic.draw(tmp_path, 'dmeo', 0)
    for seed in (-1, 0.5, True, '0'):
        with pytest.raises(ValueError, match='data.synthetic.seed'):
            synthetic.draw(tmp_path, 'tiny', seed)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'background': 'moon'}, 'moon.* street, indoor, park'),
        ({'occlusion': 1.5}, r'occlusion=1.5 is outside \[0.0, 1.0\]'),
        ({'gain': (1.2, 0.8)}, 'gain'),
        ({'cameras_per_id': (1, 3)}, 'cameras_per_id'),
        ({'cameras_per_id': (3, 7)}, 'cameras_per_id'),
        ({'images_per_camera': 1}, 'images_per_camera'),
        ({'train_ids': 376}, 'train_ids'),
        ({'cameras': 7}, 'cameras'),
        ({'cast': (1.0, 1.0)}, 'cast'),
    ],
)
def test_knobs_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DomainKnobs(**changes)


def test_every_knob_moves_the_pictures_or_their_number():
    """No knob is decoration: each one but the counts changes some pixel."""
    changes = {
        'background': 'park',
        'saturation': (0.1, 0.2),
        'value': (0.1, 0.2),
        'grey_share': 1.0,
        'hue_band': (0.4, 0.5),
        'hue_share': 1.0,
        'cast': (1.2, 1.0, 0.8),
        'contrast': 0.5,
        'white_balance': 0.3,
        'gain': (0.4, 0.5),
        'gamma': (1.5, 1.6),
        'own_view': 0.0,
        'crop_jitter': 0.0,
        'occlusion': 1.0,
        'clutter': 1.0,
        'shade': 0.8,
        'resolution': 0.5,
        'blur': 2.0,
        'noise': 20.0,
    }
    written = {'jpeg_quality', 'height', 'width'}
    counts = {name for name in asdict(SMALL) if 'ids' in name}
    counts |= {'cameras', 'cameras_per_id', 'images_per_camera'}
    counts |= {'train_cameras', 'image_spread'}
    named = {field.name for field in fields(DomainKnobs)}
    assert named == set(changes) | written | counts
    # A band does nothing without a share, and a share without a band.
    banded = {'hue_share': 0.5, 'hue_band': (0.0, 0.5)}
    base = photos(**banded)
    for name, value in changes.items():
        other = photos(**(banded | {name: value}))
        assert not np.array_equal(base, other), name


def test_cast_shifts_the_channels():
    plain = photos().mean(axis=(0, 1, 2))
    warm = photos(cast=(1.1, 1.0, 0.8)).mean(axis=(0, 1, 2))
    assert warm[0] > plain[0] + 3 and warm[2] < plain[2] - 3
    assert abs(warm[1] - plain[1]) < 0.5


def test_gain_brightens_and_gamma_darkens():
    low = photos(gain=(0.6, 0.6)).mean()
    assert photos(gain=(0.9, 0.9)).mean() > 1.3 * low
    dark = photos(gamma=(1.5, 1.5)).mean()
    assert photos(gamma=(1.0, 1.0)).mean() > dark + 10


def test_resolution_and_blur_take_detail_away_and_noise_adds_some():
    plain = roughness(photos(noise=0.0, blur=0.0))
    assert roughness(photos(noise=0.0, blur=0.0, resolution=0.5)) < (
        0.8 * plain
    )
    assert roughness(photos(noise=0.0, blur=1.5)) < 0.6 * plain
    noisy = roughness(photos(noise=10.0, blur=0.0))
    # Neighbours with independent noise differ by twice its variance.
    assert noisy == pytest.approx(plain + 2 * 10**2, rel=0.15)


def test_shade_darkens_and_contrast_flattens():
    assert photos(shade=0.6).mean() < 0.9 * photos(shade=0.0).mean()
    assert photos(contrast=0.5).std() < 0.6 * photos().std()


def test_jpeg_quality_makes_files_smaller(tmp_path):
    sizes = []
    for quality in (95, 30):
        chosen = replace(SMALL, jpeg_quality=quality)
        name = f'quality{quality}'
        folder = drawing.draw_pair(tmp_path, name, (chosen, chosen), 0)
        sizes.append(sum(map(len, contents(folder).values())))
    assert sizes[1] < 0.6 * sizes[0]


def test_size_is_a_knob_and_keeps_the_scene():
    small, large = photos(), photos(height=128, width=64)
    assert large.shape[1:] == (128, 64, 3)
    assert large.mean() == pytest.approx(small.mean(), rel=0.15)


def saturation_and_hue(**changes):
    chosen = replace(SMALL, grey_share=0.0, **changes)
    tops = [drawing.make_person(0, n, chosen).top for n in range(1, 61)]
    tops = np.array(tops, np.float32)[None] / 255
    hue, saturation, value = cv2.cvtColor(tops, cv2.COLOR_RGB2HSV)[0].T
    return hue / 360, saturation, value


def test_palette_knobs_are_what_they_say():
    hue, saturation, value = saturation_and_hue(
        saturation=(0.2, 0.4),
        value=(0.5, 0.6),
        hue_band=(0.5, 0.7),
        hue_share=1.0,
    )
    assert saturation.min() >= 0.19 and saturation.max() <= 0.41
    assert value.min() >= 0.49 and value.max() <= 0.61
    assert hue.min() >= 0.49 and hue.max() <= 0.71


def test_a_palette_knob_leaves_everything_but_colours():
    pale = replace(SMALL, saturation=(0.0, 0.1), grey_share=0.9)
    for number in range(1, 20):
        one = drawing.make_person(0, number, SMALL)
        two = drawing.make_person(0, number, pale)
        assert (one.pattern, one.bag, one.girth, one.lower, one.hair) == (
            two.pattern, two.bag, two.girth, two.lower, two.hair,
        )  # fmt: skip


def test_own_view_is_the_share_of_the_cameras_viewpoint():
    def share(own_view):
        chosen = replace(SMALL, own_view=own_view)
        rng = np.random.default_rng(0)
        views = [strike_pose(rng, 'back', chosen).view for _ in range(400)]
        return views.count('back') / 400

    assert share(1.0) == 1.0
    assert share(0.6) == pytest.approx(0.6 + 0.4 / 4, abs=0.08)
    assert share(0.0) == pytest.approx(1 / 4, abs=0.08)


def test_every_look_can_be_drawn_from_every_side():
    rng = np.random.default_rng(0)
    canvas = np.full((192, 96, 3), 77, np.uint8)
    person = dress_person(rng, SMALL)
    folds = rng.standard_normal((14, 7))
    for view in VIEWS:
        seen = set()
        for pattern in PATTERNS:
            for bag in BAGS:
                image = canvas.copy()
                chosen = replace(person, pattern=pattern, bag=bag, jacket=None)
                pose = Pose(view, 1.0, 0.1, 0.05)
                draw_person(image, chosen, pose, 48, 10, 170, 0.0, folds)
                seen.add(image.tobytes())
        assert len(seen) > len(PATTERNS)


def test_a_person_outside_the_picture_is_no_error():
    rng = np.random.default_rng(0)
    canvas = np.full((192, 96, 3), 77, np.uint8)
    before = canvas.copy()
    draw_person(
        canvas,
        dress_person(rng, SMALL),
        Pose('front', 0.0, 0.1, 0.05),
        -500.0,
        10,
        170,
        0.0,
        rng.standard_normal((14, 7)),
    )
    assert np.array_equal(canvas, before)


def test_contact_sheet_shows_both_domains():
    both = synthetic.contact_sheet('tiny', 0, identities=2, cameras=2)
    one = synthetic.contact_sheet('tiny', 0, ('target',), 2, 2)
    assert both.dtype == np.uint8 and both.ndim == 3
    assert one.shape[0] == both.shape[0] and one.shape[1] < both.shape[1]
    assert np.array_equal(both[:, -one.shape[1] :], one)


# Other amounts of training images


def training(folder):
    return parsed(folder / 'target' / PARTS[0])


def test_one_training_camera_and_all_in_the_test(tmp_path):
    one = replace(SMALL, train_cameras=1)
    folder = drawing.draw_pair(tmp_path, 'one', (SMALL, one), 0)
    plain = drawing.draw_pair(tmp_path, 'plain', (SMALL, SMALL), 0)
    assert {camera for _, camera in training(folder)} == {1}
    assert len({number for number, _ in training(folder)}) == 3
    for part in PARTS[1:]:
        names = [f'target/{part}', 'source']
        for name in names:
            assert contents(folder / name) == contents(plain / name)


def test_unequal_images_per_person(tmp_path):
    many = replace(SMALL, train_ids=40, image_spread=1.0)
    folder = drawing.draw_pair(tmp_path, 'unequal', (SMALL, many), 0)
    found = training(folder)
    counts = {pair: found.count(pair) for pair in set(found)}
    per_person = {}
    for (number, _), count in counts.items():
        per_person.setdefault(number, set()).add(count)
    # The same under each camera of a person, from one image to many.
    assert all(len(shots) == 1 for shots in per_person.values())
    assert len(per_person) == 40
    assert min(counts.values()) == 1 and max(counts.values()) >= 5


def test_training_images_without_cameras(tmp_path, monkeypatch):
    plain = PAIRS['tiny']
    silent = (plain[0], replace(plain[1], camera_ids=False))
    monkeypatch.setitem(PAIRS, 'silent', silent)
    with synthetic.selected('silent', 0):
        source = synthetic.SyntheticSource(str(tmp_path))
        target = synthetic.SyntheticTarget(str(tmp_path))
    assert {item[2] for item in target.train} == {0}
    assert len({item[2] for item in target.query}) > 1
    assert len({item[2] for item in source.train}) > 1


def test_data_drawn_before_there_were_these_knobs_is_the_same(tmp_path):
    folder = drawing.draw_pair(tmp_path, 'small', (SMALL, SMALL), 0)
    record = json.loads((folder / 'record.json').read_text())
    assert not {'train_cameras', 'image_spread', 'camera_ids'} & {
        *record['source'],
        *record['target'],
    }
    one = replace(SMALL, train_cameras=1)
    with pytest.raises(ValueError, match='train_cameras'):
        drawing.draw_pair(tmp_path, 'small', (SMALL, one), 0)


def test_every_pair_differs_from_the_demos():
    assert len({PAIRS[name] for name in PAIRS}) == len(PAIRS)
    images = PAIRS['few'][1]
    low, high = images.cameras_per_id
    mean = images.train_ids * images.images_per_camera * (low + high) / 2
    assert mean == 400

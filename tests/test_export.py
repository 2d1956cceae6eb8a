"""delivery/ and the export command: a file that answers as its model."""

import hashlib
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchreid
from PIL import Image

import torchreid_daam
from layouts import write_duke, write_market
from tiny import tiny_config
from torchreid_daam import build_daam, export_material, load_model
from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.cli import export_main, main
from torchreid_daam.data.seeded import SeededImages
from torchreid_daam.delivery import export as exporting
from torchreid_daam.delivery import parity, precision, proof, ranking, runtime
from torchreid_daam.delivery.export import export
from torchreid_daam.delivery.graph import (
    Embedding,
    resized,
    to_onnx,
    to_torchscript,
)
from torchreid_daam.delivery.naming import file_name
from torchreid_daam.delivery.proof import Material, Options
from torchreid_daam.errors import InputError
from torchreid_daam.export_material import spread
from torchreid_daam.export_run import parsed_size
from torchreid_daam.runs.calibration import write_calibration
from torchreid_daam.runs.checkpoint import save_checkpoint

HAS_ONNX = find_spec('onnx') and find_spec('onnxruntime')
needs_onnx = pytest.mark.skipif(
    not HAS_ONNX, reason='needs onnx and onnxruntime, the extra [export]'
)
SIZE = (32, 16)
OPTIONS = Options('x', SIZE, SIZE)
HEADS = ('classifier_s', 'classifier_t', 'nominal', 'domain', 'branch_dsp')


def make(backbone='resnet_tiny', size=SIZE, **more):
    """A model that tells random images apart.

    With statistics as torch initialises them the signal dies on its way,
    and every image gets nearly the same vector: equal by no merit.
    """
    model = build_daam(backbone, 5, 4, pretrained=False, seed=3, **more)
    adapt_batch_norm(model, [torch.from_numpy(images(16, size, seed=4))])
    model.eval()
    v = parity.unit(vectors(model, images(8, size, seed=6)))
    assert (v @ v.T).min() < 0.9
    return model


def images(count=3, size=SIZE, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, 3, *size), np.float32)


def vectors(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def saved(model, path, **more):
    save_checkpoint(path, {'state_dict': model.state_dict(), **more})
    return path


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A finished run of some seconds on the tiny pair."""
    folder = tmp_path_factory.mktemp('run')
    cfg = tiny_config(folder)
    torchreid_daam.adapt(cfg)
    return cfg.save_dir


@pytest.fixture
def command(capsys):
    """The export command in this process: exit code, stdout, stderr."""

    def call(*args):
        code = main(['export', *map(str, args)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def refused(command):
    """The one line with which the command ends."""

    def call(*args, code=2):
        got, _, err = command(*args)
        assert got == code, err
        assert err.startswith('error: ') and err.count('\n') == 1
        return err

    return call


def metadata(path):
    return json.loads(Path(f'{path}.metadata.json').read_text())


def copy_of(run, folder):
    """The run as it was when it ended, elsewhere."""
    skip = shutil.ignore_patterns('export')
    return Path(shutil.copytree(run, folder, ignore=skip))


# The graph


@pytest.mark.parametrize('attention', ['residual', 'independent', 'none'])
@pytest.mark.parametrize('dsp_branch', [True, False])
def test_the_embedding_is_the_models_eval_path(attention, dsp_branch):
    model = make(attention=attention, dsp_branch=dsp_branch)
    x = torch.from_numpy(images())
    embedding = Embedding(model)
    assert torch.equal(embedding(x), model(x))
    names = {name.split('.')[0] for name, _ in embedding.named_parameters()}
    assert not names & set(HEADS) and 'attention_dsp' not in names


def lengths(v):
    return [sum(float(x) ** 2 for x in row) ** 0.5 for row in v.tolist()]


def test_a_normalised_embedding():
    model = make()
    x = torch.from_numpy(images())
    v, plain = Embedding(model, normalize=True)(x), model(x)
    for row, other, length in zip(v, plain, lengths(plain)):
        assert torch.allclose(row, other / length, atol=1e-6)


@pytest.mark.parametrize(
    'size', [(64, 32), (128, 64), (31, 17), (20, 40), (32, 16)]
)
def test_resizing_is_opencvs(size):
    x = images(2, size)
    found = resized(torch.from_numpy(x), SIZE).numpy()
    for image, expected in zip(found, x):
        expected = cv2.resize(
            np.ascontiguousarray(expected.transpose(1, 2, 0)),
            (SIZE[1], SIZE[0]),
            interpolation=cv2.INTER_LINEAR,
        )
        assert np.abs(image.transpose(1, 2, 0) - expected).max() < 2e-5


@needs_onnx
def test_a_file_that_resizes_is_the_model_after_opencv():
    model, size = make(), (45, 20)
    content = to_onnx(Embedding(model, SIZE), size)
    extract = runtime.open_file('onnx', content)
    # 8-bit images: what OpenCV rounds is at most one grey level away.
    pixels = np.random.default_rng(1).integers(0, 256, (3, *size, 3), np.uint8)
    raw = extract(np.float32(pixels.transpose(0, 3, 1, 2)) / 255)
    for image, found in zip(pixels, raw):
        exact = cv2.resize(np.float32(image), SIZE[::-1])
        whole = cv2.resize(image, SIZE[::-1])
        assert np.abs(exact - whole).max() <= 1
        x = np.float32(exact.transpose(2, 0, 1))[None] / 255
        assert np.allclose(vectors(model, x)[0], found, atol=1e-5)


@needs_onnx
def test_the_graph_is_what_a_tracker_reads():
    import onnx

    model = make()
    content = to_onnx(Embedding(model), SIZE)
    graph = onnx.load_from_string(content).graph
    onnx.checker.check_model(onnx.load_from_string(content), True)

    def shape(value):
        return [
            d.dim_param or d.dim_value
            for d in value.type.tensor_type.shape.dim
        ]

    (given,), (found,) = graph.input, graph.output
    assert (given.name, shape(given)) == ('images', ['batch', 3, *SIZE])
    assert (found.name, shape(found)[0]) == ('features', 'batch')
    names = ' '.join(weight.name for weight in graph.initializer)
    assert 'branch_dsh' in names and 'attention' in names
    assert not any(head in names for head in HEADS)


@pytest.mark.parametrize('format_', ['onnx', 'torchscript'])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'attention': 'none', 'dsp_branch': False},
        {'attention': 'independent', 'gate': 'harmonious'},
        {'gate': 'literal', 'embed_dim': 6},
        {'feature': 'pre_relu'},
    ],
)
def test_a_file_answers_as_its_model(format_, options):
    if format_ == 'onnx' and not HAS_ONNX:
        pytest.skip('needs onnx and onnxruntime, the extra [export]')
    model = make(**options)
    write = to_onnx if format_ == 'onnx' else to_torchscript
    extract = runtime.open_file(format_, write(Embedding(model), SIZE))
    for batch in (1, 2, 5):
        x = images(batch, seed=batch)
        expected = vectors(model, x)
        assert np.allclose(extract(x), expected, rtol=1e-4, atol=1e-5)


@needs_onnx
def test_a_backbone_that_no_tracker_knows_is_written_and_said(tmp_path):
    done = export(make(), tmp_path, OPTIONS, Material(images()), {})
    told = done.metadata
    assert told['boxmot']['knows_backbone'] is False
    assert 'no backbone of the name resnet_tiny' in told['boxmot']['note']


def people(count, size, seed=0):
    """Images (count, 3, H, W) of eight coarse patterns under noise."""
    patterns = np.random.default_rng(1).standard_normal((8, 3, 8, 4))
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 8, count)
    scale = (1, 1, size[0] // 8, size[1] // 4)
    x = np.kron(patterns[labels], np.ones(scale))
    x += 0.5 * generator.standard_normal(x.shape)
    return torch.from_numpy(x).float(), torch.from_numpy(labels)


def trained(backbone, last_stride, size, steps=40):
    """A network that has learned something, and tells people apart.

    An untrained one doubles rounding from block to block: see docs/export.md.
    """
    model = build_daam(
        backbone,
        8,
        loss='softmax',
        pretrained=False,
        seed=3,
        last_stride=last_stride,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    model.train()
    for step in range(steps):
        x, labels = people(16, size, step)
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    ('backbone', 'last_stride'),
    [
        ('resnet18', 1),
        ('resnet18', 0),
        ('resnet50', 1),
        ('resnet50', 0),
        ('resnet50_ibn_a', 1),
        ('resnet50_ibn_a', 0),
        ('osnet_x0_25', 0),
        ('osnet_x1_0', 0),
        ('mobilenetv2_x1_0', 0),
    ],
)
def test_larger_backbones(tmp_path, backbone, last_stride):
    size = (64, 32)
    model = trained(backbone, last_stride, size)
    x = people(17, size, seed=100)[0].numpy()
    v = parity.unit(vectors(model, x))
    assert (v @ v.T).min() < 0.98
    options = Options('try', size, size)
    told = export(model, tmp_path, options, Material(x), {}).metadata
    assert len(told['parity']) == 6
    assert max(row['max_difference'] for row in told['parity']) <= 1e-5
    known = told['boxmot']['knows_backbone']
    assert known is (backbone != 'resnet50_ibn_a')
    assert told['architecture']['last_stride'] == last_stride
    content = (tmp_path / told['file']).read_bytes()
    found = parity.unit(runtime.open_file('onnx', content)(x))
    assert np.abs(found - v).max() <= 1e-5


# The proof


def test_parity_of_plain_numbers():
    expected = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    found = np.array([[4.0, 3.0], [0.0, 0.0]], np.float32)
    pool = np.zeros((2, 3, 1, 1), np.float32)
    one, two, many = parity.compare(
        lambda x: expected[np.arange(len(x)) % 2],
        lambda x: found[np.arange(len(x)) % 2],
        {'real': pool},
    )
    for row in (one, two, many):
        assert row.max_difference == pytest.approx(0.2)
        assert row.min_cosine == pytest.approx(0.96)
    assert (one.batch, two.batch, many.batch) == (1, 2, 17)


@pytest.mark.parametrize(
    ('answer', 'said'),
    [
        (lambda x: np.ones((len(x), 3)), 'shape'),
        (lambda x: np.array([[0.6, 0.8]]), 'shape'),
        (lambda x: np.full((len(x), 2), np.nan), 'not finite'),
        (lambda x: np.full((len(x), 2), 3.0), 'length 1'),
        (lambda x: x.shape.no_such_thing, 'no_such_thing'),
    ],
)
def test_answers_that_prove_nothing(answer, said):
    pool = {'real': np.zeros((2, 3, 1, 1), np.float32)}
    with pytest.raises(parity.ParityError, match=said):
        parity.compare(lambda x: np.ones((len(x), 2)), answer, pool, True)


@pytest.mark.parametrize(
    ('difference', 'cosine', 'good'),
    [(1e-5, 1.0, True), (1.1e-5, 1.0, False), (0.0, 0.999989, False)],
)
def test_the_tolerance(difference, cosine, good):
    rows = [parity.Parity('real', 2, difference, cosine)]
    if good:
        parity.check_tolerance(rows)
    else:
        with pytest.raises(parity.ParityError, match='real images, batch 2'):
            parity.check_tolerance(rows)


def average_precision(q, pid, camid, gallery, who):
    """By hand: the mean of the precision at each right match."""
    order = sorted(
        (float(((q - g) ** 2).sum()), right == pid)
        for g, (right, camera) in zip(gallery, who)
        if not (right == pid and camera == camid)
    )
    hits, found = 0, []
    for rank, (_, right) in enumerate(order, 1):
        hits += right
        if right:
            found.append(hits / rank)
    return sum(found) / len(found)


def test_map_by_hand():
    generator = np.random.default_rng(5)
    who = [(pid, camera) for pid in range(6) for camera in range(3)]

    def part(seed):
        pixels = np.random.default_rng(seed).standard_normal((18, 3, 1, 1))
        return [
            {'img': torch.from_numpy(x).float(), 'pid': p, 'camid': c}
            for x, (p, c) in zip(pixels, who)
        ]

    query, gallery = part(1)[::3], part(2)
    weights = generator.standard_normal((3, 4))
    test = ranking.TestSet('x', query, gallery, batch_size=5)

    def extract(x):
        return (x[:, :, 0, 0] @ weights).astype(np.float32)

    def flat(items):
        return extract(np.stack([item['img'].numpy() for item in items]))

    expected = [
        average_precision(q, i['pid'], i['camid'], flat(gallery), who)
        for q, i in zip(flat(query), query)
    ]
    found = ranking.mean_aps([extract, lambda x: -extract(x)], test)
    assert found == [pytest.approx(100 * np.mean(expected), abs=1e-4)] * 2


def test_nobody_to_find():
    part = [{'img': torch.zeros(3, 1, 1), 'pid': 1, 'camid': 0}]
    test = ranking.TestSet('x', part, part)
    with pytest.raises(InputError, match='x: mAP can not be measured'):
        ranking.mean_aps([lambda x: x[:, :, 0, 0]], test)


# Names


def test_file_names():
    assert file_name('resnet50', 'm2d') == 'resnet50_daam_m2d.onnx'
    assert file_name('resnet50', 'my run/2') == 'resnet50_daam_my-run-2.onnx'
    assert file_name('resnet18', 'a', 'int8') == 'resnet18_daam_a_int8.onnx'
    name = file_name('osnet_x0_25', 'osnet_x0_25-2', 'fp32', 'torchscript')
    assert name == 'osnet_x0_25_daam_osnet_x0_25-2.torchscript'


@pytest.mark.parametrize(
    ('run_name', 'word'),
    [
        ('veri', 'veri'),
        ('VeRi776', 'veri'),
        ('verified', 'veri'),
        ('my-vehicleid', 'vehicleid'),
        ('osnet_x1_0', 'osnet_x1_0'),
        ('resnet50_fc512', 'resnet50_fc512'),
        ('lmbn_n', 'lmbn_n'),
        ('///', 'letters or digits'),
        ('', 'letters or digits'),
    ],
)
def test_names_that_mislead(run_name, word):
    with pytest.raises(InputError, match=word):
        file_name('resnet50', run_name)


@pytest.mark.parametrize(
    'text', ['256', '256x', 'x', '0x128', '1e3x2', '7x99']
)
def test_sizes_that_are_none(text):
    with pytest.raises(InputError, match=f'--input-size={text}'):
        parsed_size('--input-size', text)


def test_sizes():
    assert parsed_size('--input-size', '256x128') == (256, 128)
    assert parsed_size('--input-size', '') is None


# The command


@needs_onnx
def test_a_run(run, command):
    code, out, err = command(run)
    assert (code, err) == (0, '')
    path = run / 'export' / 'resnet_tiny_daam_log.onnx'
    told = metadata(path)
    assert str(path) in out and 'real       17' in out
    assert f'{path.stat().st_size}' == str(told['bytes'])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told['sha256'] == digest
    assert told['model_name'] == 'resnet_tiny_daam'
    assert told['model_kwargs'] == {'img_size': [32, 16]}
    assert told['output']['l2_normalized'] is False
    assert told['data']['targets'] == ['synthetic_target']
    # The model's mAP is the one that the run's own table ends with.
    rows = json.loads((run / 'results.json').read_text())['rows']
    (row,) = told['mAP']
    assert row['model'] == pytest.approx(rows[-1]['mAP'], abs=1e-6)
    assert abs(row['change']) <= 0.05
    assert [p.name for p in path.parent.glob('.*')] == ['.lock']


@needs_onnx
def test_one_vector_on_every_way(run, command, tmp_path):
    code, *_ = command(run, '--output', tmp_path, '--no-map')
    assert code == 0
    content = (tmp_path / 'resnet_tiny_daam_log.onnx').read_bytes()
    x = images(4)
    selected = run / 'checkpoints' / 'selected.pth'
    extractor = torchreid.utils.FeatureExtractor(
        model_name='resnet_tiny_daam',
        model_path=str(selected),
        image_size=SIZE,
        device='cpu',
        verbose=False,
    )
    known = vectors(load_model(run), x)
    assert known.std() > 0
    by_torchreid = extractor(torch.from_numpy(x)).numpy()
    assert np.array_equal(by_torchreid, known)
    by_file = runtime.open_file('onnx', content)(x)
    difference = parity.unit(by_file) - parity.unit(known)
    assert np.abs(difference).max() < 1e-5
    # From image files, as torchreid's extractor reads them.
    files = sorted(map(str, (run.parent / 'data').rglob('*.jpg')))[::20]
    pixels = []
    for file in files:
        image = Image.open(file).convert('RGB')
        image = image.resize(SIZE[::-1], Image.Resampling.BILINEAR)
        pixels.append(np.float32(image).transpose(2, 0, 1) / 255)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (OPTIONS.mean, OPTIONS.std))
    by_file = runtime.open_file('onnx', content)(
        np.float32((np.stack(pixels) - mean) / std)
    )
    by_torchreid = extractor(files).numpy()
    assert len(files) > 3
    assert (
        np.abs(parity.unit(by_file) - parity.unit(by_torchreid)).max() < 1e-5
    )


@needs_onnx
def test_another_incoming_size_and_unit_vectors(run, command, tmp_path):
    args = ('--input-size', '48x20', '--normalize', '--output', tmp_path)
    code, out, err = command(run, *args)
    assert (code, err) == (0, '')
    assert 'by the model, its images resized alike' in out
    path = tmp_path / 'resnet_tiny_daam_log.onnx'
    told = metadata(path)
    assert told['forced'] is False
    assert told['input']['shape'] == ['batch', 3, 48, 20]
    assert told['input']['resized_in_graph_to'] == [32, 16]
    assert told['output']['l2_normalized'] is True
    args = ('--output', tmp_path)
    code, out, _ = command(run, *args)
    assert code == 0
    assert 'warning: replaces a file whose l2_normalized was True' in out
    assert "shape was ['batch', 3, 48, 20], is ['batch', 3, 32, 16]" in out
    assert 'vectors not normalised' in out
    assert 'replaces' not in command(run, *args)[1]
    path.with_name(f'{path.name}.metadata.json').write_text('[]')
    assert 'replaces' not in command(run, *args)[1]
    assert command(run, '--input-size', '48x20', '--normalize', *args)[0] == 0
    v = runtime.open_file('onnx', path.read_bytes())(images(3, (48, 20)))
    assert lengths(v) == pytest.approx([1, 1, 1], abs=1e-5)


def test_torchscript(run, command, tmp_path):
    args = ('--format', 'torchscript', '--output', tmp_path, '--no-map')
    code, _, err = command(run, *args)
    assert (code, err) == (0, '')
    path = tmp_path / 'resnet_tiny_daam_log.torchscript'
    x = images(7)
    with torch.no_grad():
        found = torch.jit.load(str(path))(torch.from_numpy(x)).numpy()
    assert np.allclose(found, vectors(load_model(run), x), atol=1e-6)
    assert 'onnxruntime' not in metadata(path)['versions']


@needs_onnx
@pytest.mark.parametrize('bits', ['fp16', 'int8'])
def test_fewer_bits(run, command, refused, tmp_path, monkeypatch, bits):
    args = (run, '--precision', bits, '--output', tmp_path)
    monkeypatch.setitem(proof.MAX_CHANGE, bits, -1.0)
    said = refused(*args)
    assert f'--precision {bits}' in said and '--force' in said
    assert not list(tmp_path.iterdir())
    code, out, _ = command(*args, '--force')
    assert code == 0 and 'size: ' in out and f'ms by {bits}' in out
    told = metadata(tmp_path / f'resnet_tiny_daam_log_{bits}.onnx')
    plain, file = told['against_fp32']['bytes']
    assert file < 0.6 * plain and told['forced'] is True
    assert told.get('calibration_images') == (None if bits == 'fp16' else 70)
    real = [r['min_cosine'] for r in told['parity'] if r['images'] == 'real']
    assert min(real) > (0.9999 if bits == 'fp16' else 0.97)


@needs_onnx
def test_fewer_bits_are_not_written_unmeasured(run, refused, tmp_path):
    said = refused(
        run, '--precision', 'fp16', '--no-map', '--output', tmp_path
    )
    assert 'no labelled images' in said
    alone = saved(make(), tmp_path / 'x.pth')
    said = refused(alone, '--model-size', '32x16', '--precision', 'int8')
    assert 'calibrate' in said
    said = refused(run, '--precision', 'int8', '--format', 'torchscript')
    assert '--format onnx alone' in said


@needs_onnx
def test_int8_ranges_come_from_the_images(run):
    # Calibrated on nearly black images, real ones fall out of the range.
    content = to_onnx(Embedding(load_model(run)), SIZE)
    good = precision.to_int8(content, images(32))
    bad = precision.to_int8(content, images(32) / 100)
    plain, x = runtime.open_file('onnx', content), images(17, seed=1)

    def worst(file):
        rows = parity.compare(
            plain, runtime.open_file('onnx', file), {'real': x}
        )
        return min(row.min_cosine for row in rows)

    assert worst(good) > worst(bad)


def test_images_at_even_steps():
    letters = [*'abcdefghi']
    assert spread(letters, 3) == ['a', 'e', 'i']
    assert spread(letters, 99) == letters
    assert spread([], 3) == []


def read_by(run, command, tmp_path, monkeypatch, *args):
    """Paths of the images that an export proves and calibrates on."""
    seen = []

    class Watched(SeededImages):
        def __init__(self, items, transform):
            seen.append([item.path for item in items])
            super().__init__(items, transform)

    monkeypatch.setattr(export_material, 'SeededImages', Watched)
    output = ('--output', tmp_path / 'out', '--no-map', *args)
    code, _, err = command(run, *output)
    assert code == 0, err
    return seen


@needs_onnx
def test_int8_is_not_proved_on_what_it_was_fitted_to(
    run, command, tmp_path, monkeypatch
):
    args = ('--precision', 'int8', '--force')
    proof, fitted = read_by(run, command, tmp_path, monkeypatch, *args)
    assert len(proof) == 17 and len(fitted) == len({*fitted}) == 70
    assert not {*proof} & {*fitted}
    assert all('target' in path for path in proof + fitted)


@needs_onnx
def test_a_stock_engines_run_is_proved_on_its_target(
    run, command, tmp_path, monkeypatch
):
    moved = copy_of(run, tmp_path / 'moved')
    text = (moved / 'config.yaml').read_text()
    assert 'load_train_targets: true' in text
    text = text.replace(
        'load_train_targets: true', 'load_train_targets: false'
    )
    (moved / 'config.yaml').write_text(text)
    proof, _ = read_by(moved, command, tmp_path, monkeypatch)
    assert len(proof) == 17 and all('target' in path for path in proof)


@needs_onnx
def test_an_image_that_training_left_out(run, command, tmp_path, monkeypatch):
    before, _ = read_by(run, command, tmp_path, monkeypatch)
    data = tmp_path / 'data'
    shutil.copytree(run.parent / 'data', data)
    for path in before[1:]:
        (data / Path(path).relative_to(run.parent / 'data')).write_bytes(b'no')
    output = ('--output', tmp_path / 'out', '--root', data)
    code, out, _ = command(run, *output)
    assert code == 0 and 'real       17' in out


@needs_onnx
def test_another_mean_is_a_warning_for_trackers(run, command, tmp_path):
    moved = copy_of(run, tmp_path / 'moved')
    text = (moved / 'config.yaml').read_text()
    assert '- 0.485' in text
    (moved / 'config.yaml').write_text(text.replace('- 0.485', '- 0.5'))
    code, out, _ = command(moved, '--no-map')
    assert code == 0 and 'warning: BoxMOT' in out
    told = metadata(moved / 'export' / 'resnet_tiny_daam_moved.onnx')
    assert told['input']['mean'][0] == 0.5
    assert told['boxmot']['prepares_images_alike'] is False


@needs_onnx
def test_a_file_of_other_weights_never_gets_its_name(
    run, command, refused, tmp_path, monkeypatch
):
    args = (run, '--output', tmp_path, '--no-map')
    assert command(*args)[0] == 0
    before = {p.name: p.read_bytes() for p in tmp_path.glob('[!.]*')}
    assert len(before) == 2

    def lying(embedding, size):
        other = load_model(run)
        with torch.no_grad():
            other.branch_dsh.fc.weight[0, 0] += 0.5
        return to_onnx(Embedding(other), size)

    monkeypatch.setattr(exporting, 'to_onnx', lying)
    said = refused(*args, code=1)
    assert 'unit vectors differ' in said and 'nothing written' in said
    after = {p.name: p.read_bytes() for p in tmp_path.glob('[!.]*')}
    assert after == before
    other = tmp_path / 'other'
    refused(run, '--output', other, '--no-map', code=1)
    assert list(other.iterdir()) == []


@needs_onnx
def test_a_file_that_no_runtime_opens(run, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, 'to_onnx', lambda *_: b'not a graph')
    refused(run, '--output', tmp_path, '--no-map', code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_the_file_belongs(run, refused, tmp_path):
    path = tmp_path / 'resnet_tiny_daam_log.torchscript'
    path.mkdir()
    args = (run, '--format', 'torchscript', '--no-map', '--output', tmp_path)
    assert f'{path}: ' in refused(*args)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, '.lock'}


@needs_onnx
def test_data_that_is_gone(run, command, tmp_path):
    moved = copy_of(run, tmp_path / 'moved')
    code, out, err = command(moved, '--root', tmp_path / 'nowhere')
    assert (code, err) == (0, '')
    assert 'mAP: not measured' in out and 'real' not in out
    told = metadata(moved / 'export' / 'resnet_tiny_daam_moved.onnx')
    assert told['data']['read'] is False and 'root' in told['data']['note']
    assert not (tmp_path / 'nowhere').exists()


@needs_onnx
def test_a_data_set_that_is_gone(run, command, tmp_path):
    moved = copy_of(run, tmp_path / 'moved')
    text = (moved / 'config.yaml').read_text()
    text = text.replace('synthetic_target', 'market1501')
    (moved / 'config.yaml').write_text(text)
    root = tmp_path / 'root'
    root.mkdir()
    write_duke(root)
    code, out, _ = command(moved, '--root', root)
    assert code == 0 and 'can not be read' in out


@needs_onnx
def test_calibration_travels_with_its_own_model(
    run, command, tmp_path, caplog
):
    moved = copy_of(run, tmp_path / 'moved')
    table = {'threshold': 0.41, 'false_accepts': 0.01}
    weak = {**table, 'warnings': ['2 people are too few']}
    write_calibration(moved / 'checkpoints' / 'selected.pth', table)
    assert command(moved, '--no-map')[0] == 0
    told = metadata(moved / 'export' / 'resnet_tiny_daam_moved.onnx')
    found = told['calibration']
    assert found['threshold'] == 0.41 and found['false_accepts'] == 0.01
    assert found['checkpoint']['sha256'] == told['checkpoint']['sha256']
    assert found['same_vectors'] is True
    # Another size gives other distances.
    write_calibration(moved / 'checkpoints' / 'selected.pth', weak)
    code, out, _ = command(moved, '--no-map', '--input-size', '48x20')
    assert code == 0 and 'threshold 0.4100: found with the fp32 model' in out
    assert 'warning: the threshold is weak: 2 people are too few' in out
    path = moved / 'export' / 'resnet_tiny_daam_moved.onnx'
    assert metadata(path)['calibration']['same_vectors'] is False
    # Beside it lie other weights, for which the threshold says nothing.
    earlier = 'step-000001-000000'
    path = moved / 'checkpoints' / f'{earlier}.pth'
    assert command(path, '--no-map')[0] == 0
    assert f'not of the weights in {earlier}.pth' in caplog.text
    name = f'resnet_tiny_daam_moved-{earlier}.onnx'
    assert metadata(moved / 'export' / name)['calibration'] is None


@needs_onnx
def test_a_lone_checkpoint(command, refused, tmp_path):
    path = saved(make(), tmp_path / 'mine.pth')
    assert '--model-size' in refused(path)
    code, out, _ = command(path, '--model-size', '32x16')
    assert code == 0 and 'not measured' in out
    assert (tmp_path / 'export' / 'resnet_tiny_daam_mine.onnx').is_file()


@needs_onnx
def test_another_checkpoint_of_a_run_has_another_name(run, command, tmp_path):
    path = run / 'checkpoints' / 'last.pth'
    assert command(path, '--output', tmp_path, '--no-map')[0] == 0
    assert (tmp_path / 'resnet_tiny_daam_log-last.onnx').is_file()


def broken(model, change):
    state = model.state_dict()
    change(state)
    return {'state_dict': state}


def without_branch(state):
    del state['branch_dsh.fc.weight']


def without_attention(state):
    del state['attention.spatial.conv.weight']


def with_record(**changes):
    def change(state):
        record = json.loads(bytes(state['record'].tolist()))
        text = json.dumps({**record, **changes}).encode()
        state['record'] = torch.tensor([*text.ljust(512)], dtype=torch.uint8)

    return change


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (without_branch, 'branch_dsh.fc.weight'),
        (without_attention, 'attention.spatial.conv.weight'),
        (lambda s: s.pop('classifier_s.weight'), 'classifier_s'),
        (lambda s: s.pop('record'), 'no record'),
        (lambda s: s.update(record=5), 'record'),
        (lambda s: s.update({'classifier_s.weight': 5}), 'not a whole'),
        (with_record(backbone='resnet18'), 'not a whole'),
        (with_record(backbone='no_such_net'), 'not a whole'),
        (with_record(embed_dim=10**12), 'embed_dim'),
        (with_record(reduction=0), 'not a whole'),
        (with_record(surprise=1), 'surprise'),
        (with_record(gate='open'), 'gate'),
        (with_record(format=9), 'format'),
    ],
)
def test_broken_checkpoints(refused, tmp_path, change, said):
    path = tmp_path / 'x.pth'
    save_checkpoint(path, broken(make(), change))
    message = refused(path, '--model-size', '32x16')
    assert said in message
    assert not (tmp_path / 'export').exists()


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_hostile_checkpoint(refused, tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'state_dict': Code(str(tmp_path / 'ran'))}, path)
    assert 'it is not loaded' in refused(path, '--model-size', '32x16')
    assert not (tmp_path / 'ran').exists()


def test_weights_that_are_not_finite(refused, tmp_path):
    model = make()
    with torch.no_grad():
        model.branch_dsh.fc.bias.fill_(float('nan'))
    path = saved(model, tmp_path / 'x.pth')
    args = (path, '--model-size', '32x16', '--format', 'torchscript')
    assert 'not finite' in refused(*args, code=1)


@needs_onnx
def test_wrong_arguments(run, refused, tmp_path):
    (tmp_path / 'file').touch()
    folder = tmp_path / 'file' / 'export'
    assert f'--output={folder}' in refused(run, '--output', folder, '--no-map')
    assert 'veri' in refused(run, '--name', 'veri', '--no-map')
    assert '--input-size=9' in refused(run, '--input-size', '9')
    said = refused(run, '--model-size', '64x32')
    assert '32x16' in said and '--input-size' in said
    assert 'no such file' in refused(tmp_path / 'nobody')
    assert '--format' in refused(run, '--format', 'tensorrt')
    assert 'selected.pth' in refused(tmp_path)
    small = saved(make('resnet18'), tmp_path / 'x.pth')
    assert not (tmp_path / 'export').exists()
    assert 'small' not in refused(small, '--model-size', '8x')


@needs_onnx
@pytest.mark.parametrize(
    'args',
    [
        ('--name', 'veri'),
        ('--output', '/dev/null/export'),
        ('--precision', 'int8', '--format', 'torchscript'),
    ],
)
def test_what_needs_no_image_is_told_before_any_is_read(
    run, refused, monkeypatch, args
):
    def reads(cfg):
        raise AssertionError('the data is read')

    target = 'torchreid_daam.export_material._datamanager'
    monkeypatch.setattr(target, reads)
    assert args[1] in refused(run, *args)


@pytest.mark.parametrize(
    'package', ['onnx', pytest.param('onnxruntime', marks=needs_onnx)]
)
def test_a_missing_package_names_the_extra(run, refused, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    said = refused(run, '--no-map')
    assert f'the package {package} is missing' in said
    assert 'torchreid-daam[export]' in said


def test_a_run_of_a_name_that_misleads(run, refused, tmp_path):
    moved = copy_of(run, tmp_path / 'my-veri-run')
    said = refused(moved, '--no-map')
    assert 'veri' in said and '--name' in said
    assert not (moved / 'export').exists()


def test_a_broken_config(run, refused, tmp_path):
    moved = copy_of(run, tmp_path / 'moved')
    (moved / 'config.yaml').write_text('model: [')
    assert 'config.yaml' in refused(moved)
    (moved / 'config.yaml').write_text('model: {novelty: 1}')
    assert 'model.novelty' in refused(moved)


def test_the_door(run, tmp_path, capsys):
    args = [str(run), '--format', 'torchscript', '--no-map', '--output']
    assert export_main([*args, str(tmp_path)]) == 0
    assert 'resnet_tiny_daam_log.torchscript' in capsys.readouterr().out


@needs_onnx
def test_folders_of_market_and_duke(command, tmp_path, capsys):
    write_market(tmp_path)
    write_duke(tmp_path)
    cfg = tiny_config(tmp_path)
    cfg.data.root = str(tmp_path)
    cfg.data.sources, cfg.data.targets = ['market1501'], ['dukemtmcreid']
    torchreid_daam.adapt(cfg)
    code, out, err = command(cfg.save_dir)
    assert (code, err) == (0, '') and 'mAP on dukemtmcreid' in out

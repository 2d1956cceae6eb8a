"""Bad input of every kind: exit code 2 and one line, within 20 seconds."""

import contextlib
import errno
import os
import resource
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import torchreid_daam
from command import arguments, run
from layouts import DUKE, MARKET, PARTS, picture, write_duke, write_market
from test_reading import huge_png
from torchreid_daam.cli import adapt_main

LIMIT = 20  # seconds
SOURCE = f'{MARKET}/{PARTS[0]}'
TARGET = f'{DUKE}/{PARTS[0]}'
QUERY = f'{DUKE}/{PARTS[1]}'
GALLERY = f'{DUKE}/{PARTS[2]}'


class Place:
    """A data root that a case spoils, and what its command says then.

    Attributes:
        root: the data root, with small Market-1501 and DukeMTMC-reID.
        folder: for other files.
        rest: words after the usual arguments.
        where: ``save_dir`` and so on, see ``command.arguments``.
        patch: pytest's monkeypatch.
    """

    def __init__(self, folder, patch):
        self.folder, self.root = folder, folder / 'data'
        self.rest, self.where, self.patch = [], {}, patch
        write_market(self.root)
        write_duke(self.root)

    def image(self, part, turn=0):
        return sorted((self.root / part).iterdir())[turn]

    def swap(self, content, part=TARGET):
        """Replaces an image's bytes; its path."""
        path = self.image(part)
        path.write_bytes(content)
        return path

    def file(self, name, content=''):
        path = self.folder / name
        mode = 'wb' if isinstance(content, bytes) else 'w'
        with open(path, mode) as file:
            file.write(content)
        return path

    def arguments(self):
        self.where.setdefault('save_dir', self.folder / 'run')
        return arguments(self.root, *self.rest, **self.where)


# A case spoils its place and gives the parts that the line has to hold.
CASES = {}


def case(function):
    CASES[function.__name__.replace('_', ' ')] = function
    return function


def setting(name, words, *parts):
    """A case of settings alone."""

    def spoil(place):
        place.rest = words.split()
        return parts

    CASES[name] = spoil


def image_case(name, content, reason, part=TARGET):
    """A case of an image whose bytes are others."""

    def spoil(place):
        return place.swap(content, part), reason

    CASES[name] = spoil


def config_case(name, content, *parts):
    """A case of a file of settings."""

    def spoil(place):
        path = place.file('settings.yaml', content)
        place.where['config'] = path
        return parts

    CASES[name] = spoil


# Settings


setting('unknown key', 'train.lrr 1', 'train.lrr: unknown', 'train.lr?')
setting('word for a number', 'train.lr fast', 'train.lr=fast', 'a number')
setting('float for an int', 'train.rounds 1.5', 'rounds=1.5', 'whole')
setting('list of words', 'train.stepsize [1,a]', 'train.stepsize', 'like 20')
setting('infinity', 'train.lr 1e999', 'train.lr=inf', 'a number expected')
setting('unhashable word', 'train.lr {[]:1}', 'train.lr={[]:1}', 'a number')
setting('5000 digits', f'train.lr {"9" * 5000}', 'train.lr=999', 'a number')
setting('odd words', 'train.lr', 'train.lr: settings come in pairs')
setting('model', 'model.name resnet51_daam', '=resnet51_daam', 'resnet50_daam')
setting(
    'data set', 'data.sources market', 'data.sources=market:', 'market1501'
)
setting('augmentation', 'data.transforms flip', 'transforms=flip', 'random_fl')
setting('optimiser', 'train.optim sgdd', 'train.optim=sgdd', 'sgd, adam')
setting('clusters', 'pseudo_labels.num_clusters 99', '=99', '16 target images')
setting('batch', 'train.batch_size 99', 'train.batch_size=99', 'has 16')
setting('rounds', 'train.rounds -1', 'train.rounds=-1', 'at least 0')
setting('epochs', 'train.pretrain_epoch -1', 'pretrain_epoch=-1', 'at least 0')
setting('round epochs', 'train.round_epoch 0', 'round_epoch=0', 'at least 1')
setting('no weights', 'train.pretrain_epoch 0', '=0', 'model.load_weights')
setting(
    'target named twice',
    "data.targets ['dukemtmcreid','dukemtmcreid']",
    'data.targets=',
    'dukemtmcreid stands there more than once',
)
setting(
    'source named twice',
    "data.sources ['market1501','market1501']",
    'market1501 stands there more than once',
)
setting('one cluster', 'pseudo_labels.num_clusters 1', '=1', 'min_clusters=2')
setting('first epoch', 'train.start_epoch 1', 'start_epoch=1', 'model.resume')
setting(
    'gallery of four people for the metric of CUHK03',
    'cuhk03.use_metric_cuhk03 True',
    'use_metric_cuhk03=True: the gallery of dukemtmcreid has 4 identities',
)
setting(
    'size that the backbone does not take',
    'model.name hacnn loss.name softmax train.max_epoch 1',
    'data.height=32, data.width=16: hacnn',
    'expected (160, 64)',
)
setting('copies', 'data.k_tfm 2', 'data.k_tfm=2', 'is 1')
setting('patches', 'data.transforms random_patch', '=random_patch', 'daam')
setting('seed', 'train.seed 4294967296', 'train.seed=4294967296', 'at most')
setting('huge input', 'data.height 999999', 'data.height=999999', 'at most')
setting('workers', 'data.workers 9999', 'data.workers=9999', 'at most 1024')
setting(
    'bad images', 'data.on_bad_image drop', 'drop', 'allowed are stop, skip'
)
setting(
    'sampler of the target',
    'sampler.train_sampler_t RandomIdentitySampler',
    'sampler.train_sampler_t=RandomIdentitySampler',
    'allowed with loss.name daam is RandomSampler',
)
setting(
    'layer',
    'train.fixbase_epoch 1 train.open_layers classifier',
    'train.open_layers=classifier: no layer',
    'classifier_s',
)
setting(
    'layer that pretraining leaves alone',
    'train.fixbase_epoch 1 train.open_layers classifier_t',
    "train.open_layers=['classifier_t']: nothing of it is trained",
    'classifier_s',
)
setting(
    'layer of another model',
    'train.fixbase_epoch 1 loss.name softmax model.name resnet_tiny '
    'train.max_epoch 1',
    'train.open_layers=classifier_s: no layer of resnet_tiny',
)


@case
def line_breaks(place):
    place.rest = ['model.name', 'a\nb']
    return r'model.name=a\nb: unknown', 'resnet50_daam'


@case
def overlap(place):
    place.where['targets'] = ('dukemtmcreid', 'market1501')
    return 'data.targets=market1501', 'also in data.sources'


# Files of settings


config_case('no YAML', 'train: {lr: 0.1\n', 'settings.yaml: not valid YAML')
config_case('bytes as YAML', b'\xff\xfe\x80', 'settings.yaml: not valid YAML')
config_case('a list as YAML', '- a\n', 'settings.yaml: holds no settings')
config_case('99th of May', 'a: 2001-05-99', 'settings.yaml: not valid YAML')
config_case('a thousand brackets', '[' * 9999, 'settings.yaml: not valid YAML')
config_case('endless anchor', 'train: &a {lr: *a}', 'anchors written out')
config_case('code', 'a: !!python/name:os.system', 'settings.yaml: not valid')
config_case('unknown section', 'optim: {lr: 1}', 'optim.lr: unknown setting')


@case
def no_file_of_settings(place):
    path = place.folder / 'none.yaml'
    place.where['config'] = path
    return f'--config-file={path}', 'No such file'


# Folders


@case
def no_data_root(place):
    place.root = place.folder / 'nowhere'
    return 'data.sources=market1501', str(place.folder / 'nowhere')


@case
def no_data_set(place):
    (place.root / 'market1501').rename(place.root / 'market')
    return 'data.sources=market1501: no folder', 'data.root'


@case
def folder_that_is_a_link_to_itself(place):
    folder = place.root / 'dukemtmc-reid'
    folder.rename(place.root / 'moved')
    folder.symlink_to(folder)
    return 'data.targets=dukemtmcreid: no folder', str(folder)


@case
def no_query(place):
    (place.root / QUERY).rename(place.root / 'moved')
    return 'dukemtmcreid', 'query'


@case
def empty_gallery(place):
    for path in (place.root / GALLERY).iterdir():
        path.unlink()
    return 'data.targets=dukemtmcreid', 'empty'


@case
def root_named_like_an_image(place):
    place.root = place.root.rename(place.folder / 'exp7_c2')
    return f'data.root={place.root}', 'rename'


@case
def names_of_another_kind(place):
    path = place.image(SOURCE)
    path.rename(path.with_name('holiday.jpg'))
    return 'data.sources=market1501', 'unexpected file names'


@case
def run_folder_below_a_file(place):
    save_dir = place.file('file') / 'run'
    place.where['save_dir'] = save_dir
    return f'data.save_dir={save_dir}', 'Not a directory'


# Weights


@case
def weights_that_are_not_there(place):
    path = place.folder / 'none.pth'
    place.rest = ['model.load_weights', path]
    return f'model.load_weights={path}', 'no such file'


@case
def a_web_page_as_weights(place):
    path = place.file('page.pth', '<!DOCTYPE html><html></html>')
    place.rest = ['model.load_weights', path]
    return f'model.load_weights={path}', 'web page'


@case
def weights_of_another_architecture(place):
    model = torchreid_daam.build_daam(
        'resnet_tiny', 4, 4, pretrained=False, gate='literal'
    )
    path = place.folder / 'other.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    place.rest = ['model.load_weights', path]
    return f'model.load_weights={path}', "gate='literal' in the file"


@case
def weights_that_would_run_code(place):
    path = place.folder / 'code.pth'
    torch.save({'state_dict': {'a': os.system}}, path)
    place.rest = ['model.resume', path]
    return f'model.resume={path}', 'not weights alone'


@case
def cut_weights(place):
    path = place.folder / 'cut.pth'
    torch.save({'a': torch.zeros(1000)}, path)
    os.truncate(path, 500)
    place.rest = ['model.backbone_weights', path]
    return f'model.backbone_weights={path}', 'damaged; cut'


# Images


image_case('empty image', b'', 'of no image format')
image_case('text as an image', b'<html>404</html>', 'of no image format')
image_case('program as an image', b'%!PS-Adobe-3.0 EPSF-3.0\n', '(')
image_case('PNG without a body', b'\x89PNG\r\n\x1a\n', '(')
image_case('empty query', b'', 'of no image format', QUERY)
image_case('empty gallery image', b'', 'of no image format', GALLERY)
image_case('empty source image', b'', 'of no image format', SOURCE)


def truncated(part):
    def spoil(place):
        content = place.image(part).read_bytes()
        return place.swap(content[: len(content) // 2], part), '1 of 1 bad'

    return spoil


CASES['truncated target'] = truncated(TARGET)
CASES['truncated query'] = truncated(QUERY)


@case
def truncated_png(place):
    path = place.image(SOURCE)
    picture(1, 1, 1).save(path, 'PNG')
    os.truncate(path, path.stat().st_size // 2)
    return path, 'not a readable image'


@case
def truncated_image_for_a_stock_engine(place):
    path = place.image(SOURCE)
    os.truncate(path, path.stat().st_size // 2)
    place.rest = ['loss.name', 'triplet', 'train.max_epoch', 1]
    return path, 'not a readable image'


@case
def bad_query_is_not_skipped(place):
    path = place.swap(b'', QUERY)
    place.rest = ['data.on_bad_image', 'skip']
    return path, 'data.on_bad_image=skip does not hold'


@case
def skipping_leaves_too_few(place):
    for turn in range(14):
        os.truncate(place.image(TARGET, turn), 99)
    place.rest = ['data.on_bad_image', 'skip']
    return 'train.batch_size=4', 'data.targets=dukemtmcreid has 2 training'


@case
def image_of_20000_x_20000(place):
    return huge_png(place.image(TARGET)), '400000000 pixels'


@case
def image_of_floats(place):
    path = place.image(TARGET)
    Image.new('F', (4, 8)).save(path, 'TIFF')
    return path, 'mode F', '8 or 16 bits expected'


@case
def link_to_itself(place):
    path = place.image(TARGET)
    path.unlink()
    path.symlink_to(path)
    return path, 'Too many levels of symbolic links'


@case
def link_to_nowhere(place):
    path = place.image(GALLERY)
    path.unlink()
    path.symlink_to(place.folder / 'gone.jpg')
    return path, 'No such file'


@case
def pipe_instead_of_an_image(place):
    path = place.image(SOURCE)
    path.unlink()
    os.mkfifo(path)
    return path, 'not a regular file'


@case
def folder_instead_of_an_image(place):
    path = place.image(SOURCE)
    path.unlink()
    path.mkdir()
    return path, 'not a regular file'


@case
def image_without_the_right_to_read_it(place):
    """Modes don't bind root, so the system's answer is made here."""
    path, real = place.image(TARGET), Image.open

    def refuse(name, *args, **kwargs):
        if str(name) == str(path):
            raise PermissionError(errno.EACCES, 'Permission denied', name)
        return real(name, *args, **kwargs)

    place.patch.setattr(Image, 'open', refuse)
    return path, 'Permission denied'


@case
def bad_image_with_a_line_break_in_its_name(place):
    path = place.swap(b'')
    path.rename(path.with_name(path.stem + '\nx.jpg'))
    return f'{path.stem}\\nx.jpg: not a readable', 'of no image format'


@case
def bad_image_whose_name_is_no_text(place):
    path = place.swap(b'')
    path.rename(path.with_name(path.stem + '\udcff.jpg'))
    return f'{path.stem}\\udcff.jpg: not a readable', 'of no image format'


@contextlib.contextmanager
def limited():
    """Ends what hangs, where the system can."""

    def stop(*_):
        raise TimeoutError(f'no answer within {LIMIT} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def command_of(place):
    config = place.where.pop('config', None)
    words = place.arguments()
    return words if config is None else ['--config-file', str(config), *words]


def check_line(out, err, parts):
    assert 'Traceback' not in out + err
    assert err.startswith('error: ') and err.endswith('\n')
    assert err[:-1].isprintable(), err
    for part in parts:
        assert str(part) in err


def test_there_are_enough_kinds():
    assert len(CASES) >= 40


@pytest.mark.parametrize('name', CASES)
def test_one_line(name, tmp_path, monkeypatch, capsys):
    place = Place(tmp_path, monkeypatch)
    parts = CASES[name](place)
    words = command_of(place)
    with limited():
        code = adapt_main(words)
    out, err = capsys.readouterr()
    assert code == 2, out + err
    check_line(out, err, parts)


IN_A_PROCESS = (
    'word for a number',
    'truncated query',
    'bad image whose name is no text',
)


@pytest.mark.slow
@pytest.mark.parametrize('name', IN_A_PROCESS)
def test_one_line_of_a_process(name, tmp_path, monkeypatch):
    """With warnings of libraries and loading processes."""
    place = Place(tmp_path, monkeypatch)
    parts = CASES[name](place)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of a machine that is busy otherwise, the processor's time counts.
    done = run(*command_of(place), 'data.workers', 2, timeout=3 * LIMIT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2, done.stdout + done.stderr
    check_line(done.stdout, done.stderr, parts)
    spent = after.ru_utime + after.ru_stime
    assert spent - before.ru_utime - before.ru_stime < LIMIT


# What looks bad and is not


@pytest.mark.parametrize('workers', (0, 2))
def test_what_is_accepted(workers, tmp_path, monkeypatch, capsys):
    """Odd images in each part of a run that goes through to its end."""
    place = Place(tmp_path, monkeypatch)
    for part in (SOURCE, TARGET, QUERY, GALLERY):
        colour = picture(1, 1, 1)
        frames = [Image.new('P', (16, 32), i) for i in range(3)]
        deep = np.arange(512, dtype=np.uint16).reshape(32, 16) * 128
        colour.save(place.image(part, 0), 'PNG')
        colour.convert('CMYK').save(place.image(part, 1))
        Image.fromarray(deep).save(place.image(part, 2), 'PNG')
        frames[0].save(
            place.image(part, 3), 'GIF', save_all=True, append_images=frames
        )
        Image.new('RGB', (1, 1)).save(place.image(part, 4))
        path = place.image(part, 5)
        path.rename(path.with_name(path.stem + '\n.jpg'))
        path = place.image(part, 6)
        path.rename(path.with_name(path.stem + '\udcff.jpg'))
        colour.save(place.image(part, 7), 'WEBP')
    code = adapt_main([*place.arguments(), 'data.workers', str(workers)])
    out, err = capsys.readouterr()
    assert (code, err) == (0, ''), out[-2000:]
    assert (tmp_path / 'run' / 'results.json').is_file()
    assert 'mAP' in out

"""The command line: arguments, exit codes, the dry run, signals."""

import errno
import itertools
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import torch
import yaml

import torchreid_daam
from command import MAIN, MODULE, arguments, environment, run
from layouts import DUKE, MARKET, write_duke, write_market
from torchreid_daam.cli import adapt_main, main
from torchreid_daam.errors import InputError, plain_message


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_market(root)
    write_duke(root)
    return root


@pytest.fixture
def outcome(capsys):
    """Runs the command in this process: (exit code, stdout, stderr)."""

    def call(*args, door=adapt_main):
        code = door([str(arg) for arg in args])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def settings(outcome):
    """The settings that a dry run resolves."""

    def resolve(*args):
        code, out, err = outcome(*args, '--dry-run')
        assert (code, err) == (0, '')
        text = out.split('\n\nsource images')[0]
        return yaml.safe_load(text[text.index('adapt_bn:') :])

    return resolve


def dry(root, *rest, **where):
    return '--dry-run', *arguments(root, *rest, **where)


def test_options_after_the_settings(root, outcome):
    code, _, err = outcome(*arguments(root), '--root', 'elsewhere')
    assert code == 2
    assert err == 'error: --root: has to stand before the settings\n'
    code, _, err = outcome(*arguments(root), '--dryrun')
    assert code == 2
    assert err.startswith('error: --dryrun')


# Arguments


@pytest.mark.parametrize(
    'args, named',
    [
        (['--no-such-flag'], '--no-such-flag'),
        (['--config-file'], '--config-file'),
        (['-s'], '-s'),
        (['-t', '--root', 'x'], '-t'),
    ],
)
def test_wrong_arguments(args, named, outcome):
    code, _, err = outcome(*args)
    assert code == 2
    assert err.startswith('error: ') and err.count('\n') == 1
    assert named in err
    assert 'usage' not in err


@pytest.mark.parametrize('args', ([], ['adopt'], ['adapt', '--nope']))
def test_wrong_commands(args, outcome):
    code, _, err = outcome(*args, door=main)
    assert code == 2
    assert err.startswith('error: ') and err.count('\n') == 1


@pytest.mark.parametrize(
    'door, args, told',
    [
        (main, ['--version'], torchreid_daam.__version__),
        (main, ['--help'], 'adapt'),
        (main, ['adapt', '--help'], '--dry-run'),
        (adapt_main, ['--help'], '--config-file'),
    ],
)
def test_questions_are_answered(door, args, told, capsys):
    with pytest.raises(SystemExit) as stop:
        door(args)
    assert stop.value.code == 0
    assert told in capsys.readouterr().out


def test_config_file_that_is_missing(tmp_path, outcome):
    path = tmp_path / 'none.yaml'
    code, _, err = outcome('--config-file', path)
    assert code == 2
    assert err == f'error: --config-file={path}: No such file or directory\n'


@pytest.mark.parametrize(
    'text, told',
    [
        ('train: {lr: 0.1\n', 'not valid YAML'),
        ('train:\n\tlr: 1\n', 'not valid YAML'),
        ('\x00', 'not valid YAML'),
        ('- a\n- b\n', 'holds no settings'),
        ('train:\n  lrr: 0.1\n', 'train.lrr: unknown setting in'),
        ('train:\n  lr:\n', 'train.lr=None: a number expected'),
        ('train:\n  rounds: many\n', 'train.rounds=many: a whole number'),
        ('train: 3\n', 'train: unknown setting in'),
        ('1: 2\n', '1: unknown setting in'),
    ],
)
def test_config_file_that_is_wrong(text, told, tmp_path, outcome):
    path = tmp_path / 'wrong.yaml'
    path.write_text(text)
    code, _, err = outcome('--config-file', path)
    assert code == 2
    assert err.startswith('error: ') and err.count('\n') == 1
    assert told in err
    if 'unknown' in told or 'valid' in told:
        assert str(path) in err


def test_config_file_that_is_no_text(tmp_path, outcome):
    path = tmp_path / 'wrong.yaml'
    path.write_bytes(b'\xff\xfe\x80\x81')
    code, _, err = outcome('--config-file', path)
    assert code == 2
    assert err.startswith(f'error: {path}: not valid YAML')
    code, _, err = outcome('--config-file', tmp_path)
    assert code == 2
    assert err.startswith(f'error: --config-file={tmp_path}: ')


def test_an_empty_config_file_changes_nothing(tmp_path, root, settings):
    path = tmp_path / 'empty.yaml'
    path.write_text('# nothing\n')
    args = arguments(root)
    assert settings('--config-file', path, *args) == settings(*args)


def test_later_words_win(tmp_path, root, settings):
    """Defaults, then the file, then named arguments, then pairs."""
    path = tmp_path / 'some.yaml'
    path.write_text(
        'train:\n  lr: 1e-2\n  batch_size: 8\n  seed: 5\n'
        'data:\n  root: elsewhere\n  sources: [cuhk03]\n'
        '  transforms: [random_flip]\n'
    )
    cfg = settings(
        *('--config-file', path, '--transforms', 'random_crop'),
        *arguments(root),
    )
    assert cfg['data']['root'] == str(root)
    assert cfg['data']['sources'] == ['market1501']
    assert cfg['data']['transforms'] == ['random_crop']
    assert cfg['train']['seed'] == 5
    assert cfg['train']['batch_size'] == 4  # a pair
    assert cfg['train']['lr'] == 0.02  # a pair
    assert cfg['train']['weight_decay'] == 5e-4  # the default


def test_pairs_may_follow_a_list(root, settings):
    """torchreid's scripts are called so; argparse would eat the pairs."""
    pairs = arguments(root)[6:]
    cfg = settings(
        *('--root', root, '-t', 'dukemtmcreid'),
        *('-s', 'market1501', 'synthetic_source', *pairs),
        *('data.synthetic.pair', 'tiny', 'train.lr', 0.1),
    )
    assert cfg['data']['sources'] == ['market1501', 'synthetic_source']
    assert cfg['data']['targets'] == ['dukemtmcreid']
    assert cfg['train']['lr'] == 0.1
    cfg = settings(
        *('--root', root, '-s', 'market1501', '-t', 'dukemtmcreid'),
        *('--transforms', 'random_flip', 'random_erase', *pairs),
        *('train.lr', 1),
    )
    assert cfg['data']['targets'] == ['dukemtmcreid']
    assert cfg['data']['transforms'] == ['random_flip', 'random_erase']
    assert cfg['train']['lr'] == 1.0


def test_lists_and_words_in_pairs(root, settings):
    cfg = settings(
        *arguments(root),
        *('data.transforms', "['random_flip','random_erase']"),
        *('train.stepsize', '[0]', 'test.ranks', 1),
        *('train.lr', '1e-3', 'adapt_bn', False),
        *('data.save_dir', 123),
    )
    assert cfg['data']['transforms'] == ['random_flip', 'random_erase']
    assert cfg['train']['stepsize'] == [0]
    assert cfg['test']['ranks'] == [1]
    assert cfg['train']['lr'] == 1e-3
    assert cfg['adapt_bn'] is False
    assert cfg['data']['save_dir'] == '123'


# The dry run


def test_dry_run_tells_and_writes_nothing(root, tmp_path, outcome):
    before = sorted(root.rglob('*'))
    rest = ('train.rounds', 3, 'train.round_epoch', 5)
    args = dry(root, *rest, save_dir=tmp_path / 'run')
    code, out, err = outcome(*args)
    assert (code, err) == (0, '')
    assert not (tmp_path / 'run').exists()
    assert sorted(root.rglob('*')) == before
    assert '\n  max_epoch: 16\n' in out
    assert 'source images: 16\n' in out
    assert 'target images: 16\n' in out
    assert 'test images: 16\n' in out
    assert 'clusters: 4\n' in out
    assert 'pretraining steps: 4\n' in out
    assert 'adaptation steps: 60\n' in out
    assert 'estimated time: ' in out


def test_dry_run_refuses_what_the_run_would(root, tmp_path, outcome):
    args = dry(root, 'pseudo_labels.num_clusters', 99, save_dir=tmp_path / 'r')
    code, _, err = outcome(*args)
    assert code == 2
    assert err.count('\n') == 1 and 'the 16 target images' in err


def test_dry_run_of_a_stock_engine(root, tmp_path, outcome):
    rest = 'loss.name', 'softmax', 'train.max_epoch', 3
    code, out, err = outcome(*dry(root, *rest, save_dir=tmp_path / 'run'))
    assert (code, err) == (0, '')
    assert 'softmax: 12 steps' in out
    assert not (tmp_path / 'run').exists()


def test_dry_run_of_a_test(root, tmp_path, outcome):
    path = tmp_path / 'model.pth'
    model = torchreid_daam.build_daam('resnet_tiny', 4, 4, pretrained=False)
    torch.save({'state_dict': model.state_dict()}, path)
    rest = 'test.evaluate', True, 'model.load_weights', path
    code, _, err = outcome(*dry(root, *rest, save_dir=tmp_path / 'run'))
    assert (code, err) == (0, '')
    assert not (tmp_path / 'run').exists()


# In a process of its own


@pytest.mark.parametrize('door', (MAIN, MODULE), ids=('main.py', '-m'))
def test_one_line_and_no_warning_on_stderr(door, root, tmp_path):
    done = run(
        *arguments(root, 'train.batch_size', 17, save_dir=tmp_path / 'run'),
        door=door,
    )
    assert done.returncode == 2
    assert done.stderr == (
        'error: train.batch_size=17: data.sources=market1501 has 16 training '
        'images; at most as many are allowed\n'
    )


@pytest.mark.slow
def test_one_line_where_workers_fail(tmp_path):
    """Of workers too, and with what torch and torchreid warn about."""
    write_market(tmp_path)
    write_duke(tmp_path)
    # The layout that torchreid calls deprecated.
    for part in (tmp_path / MARKET).iterdir():
        part.rename(tmp_path / 'market1501' / part.name)
    (tmp_path / MARKET).rmdir()
    path = sorted((tmp_path / DUKE / 'query').iterdir())[0]
    path.write_bytes(path.read_bytes()[:300])
    done = run(*arguments(tmp_path, 'data.workers', 16))
    assert done.returncode == 2
    assert 'data structure is deprecated' in done.stdout
    assert done.stderr.startswith(f'error: {path}: not a readable image')
    assert done.stderr.count('\n') == 1, done.stderr


# What ends a run that began well: exit 1 and one line


def failed(outcome, root, folder, *rest):
    """The line, and what of the run is readable afterwards."""
    args = arguments(root, *rest, save_dir=folder)
    code, _, err = outcome(*args)
    assert (code, err.count('\n')) == (1, 1), err
    assert err.startswith('error: ')
    for path in folder.glob('checkpoints/*.pth'):
        torch.load(path, weights_only=True)
    return err


def test_a_loss_that_is_not_finite(root, tmp_path, outcome):
    folder = tmp_path / 'run'
    line = failed(
        *(outcome, root, folder, 'train.pretrain_epoch', 3),
        *('train.pretrain_lr', 1e30, 'train.checkpoint_minutes', 0),
    )
    assert re.search(r'epoch \d, batch \d: loss, .* not finite; images ', line)
    assert str(root) in line and 'train.lr' in line
    assert 'checkpoint' in line


def test_such_steps_may_be_left_out_up_to_a_limit(root, tmp_path, outcome):
    line = failed(
        *(outcome, root, tmp_path / 'run', 'train.pretrain_epoch', 3),
        *('train.pretrain_lr', 1e30, 'train.on_nan', 'skip'),
        *('train.max_nan', 1),
    )
    assert '2 steps left out, more than train.max_nan=1' in line


def test_a_clustering_that_collapsed(root, tmp_path, outcome):
    line = failed(
        *(outcome, root, tmp_path / 'run'),
        *('pseudo_labels.min_clusters', 5),
    )
    assert 'pseudo_labels.min_clusters=5' in line
    last = tmp_path / 'run' / 'checkpoints' / 'last.pth'
    assert f'last checkpoint: {last}' in line


def test_a_full_disk(root, tmp_path, outcome, monkeypatch):
    folder = tmp_path / 'run'
    calls = itertools.count()
    original = os.fsync

    def fsync(number):
        if next(calls) == 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(number)

    monkeypatch.setattr(os, 'fsync', fsync)
    line = failed(outcome, root, folder)
    assert line.startswith(f'error: {folder}')
    assert ': No space left on device; last checkpoint: ' in line


def test_a_loading_process_that_dies(root, tmp_path, outcome, monkeypatch):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(
        'torchreid_daam.data.paired.SeededImages.__getitems__', die
    )
    line = failed(outcome, root, tmp_path / 'run', 'data.workers', 1)
    assert 'DataLoader worker' in line


def test_other_failures_are_not_swallowed(root, tmp_path, monkeypatch):
    """So Python prints the traceback and exits with 1."""

    def broken(cfg):
        raise RuntimeError('a bug')

    monkeypatch.setattr('torchreid_daam.commands.adapt', broken)
    with pytest.raises(RuntimeError, match='a bug'):
        adapt_main(arguments(root, save_dir=tmp_path / 'run'))


def test_save_dir_below_a_file(root, tmp_path, outcome):
    (tmp_path / 'file').touch()
    save_dir = tmp_path / 'file' / 'run'
    code, _, err = outcome(*arguments(root, save_dir=save_dir))
    assert code == 2
    assert err.startswith(f'error: data.save_dir={save_dir}: ')
    assert err.count('\n') == 1


@pytest.mark.slow
@pytest.mark.parametrize('name, code', [('SIGINT', 130), ('SIGTERM', 143)])
def test_signals(name, code, root, tmp_path):
    args = arguments(
        root,
        *('train.pretrain_epoch', 10000, 'train.print_freq', 1),
        *('data.workers', 2),
        save_dir=tmp_path / 'run',
    )
    process = subprocess.Popen(
        [sys.executable, *MAIN, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED='1'),
        start_new_session=True,
    )
    try:
        for line in process.stdout:
            if line.startswith('epoch: ['):
                break
        # A terminal's Ctrl-C reaches the workers too.
        send = os.killpg if name == 'SIGINT' else os.kill
        send(process.pid, getattr(signal, name))
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code
    told = 'interrupted' if name == 'SIGINT' else 'terminated'
    assert err == f'{told}\n'


def test_an_interrupt_of_the_import_is_no_traceback(tmp_path):
    """torch takes seconds of it; the package is a stand-in that waits."""
    package = tmp_path / 'torchreid_daam'
    package.mkdir()
    (package / '__init__.py').write_text(
        "import sys, time\nprint('here', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, *MAIN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert process.stdout.readline() == 'here\n'
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # A shell says 130.
    assert (process.returncode, err) == (-signal.SIGINT, '')


def test_an_interrupt_after_it_has_its_line(root, tmp_path, outcome):
    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('torchreid_daam.commands.adapt', interrupt)
            code, _, err = outcome(*arguments(root, save_dir=tmp_path / 'a'))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, err) == (130, 'interrupted\n')


@pytest.mark.parametrize(
    ('error', 'told'),
    [
        (OSError(errno.ENOSPC, 'No space left', b'/run/events'), 'log'),
        (ValueError('a mistake of ours'), 'err'),
    ],
)
def test_a_thread_that_can_not_write_is_one_line(
    root, tmp_path, monkeypatch, outcome, caplog, error, told
):
    def fail():
        raise error

    def act(_):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    monkeypatch.setattr('torchreid_daam.commands.adapt', act)
    code, _, err = outcome(*arguments(root, save_dir=tmp_path / 'a'))
    assert code == 0
    if told == 'log':
        assert err == '' and caplog.messages == ['/run/events: No space left']
    else:
        assert 'Traceback' in err and 'a mistake of ours' in err


# Messages


def test_plain_message_of_a_workers_error():
    text = (
        'Caught InputError in DataLoader worker process 0.\n'
        'Original Traceback (most recent call last):\n'
        '  File "x.py", line 1, in f\n    raise InputError(1)\n'
        'torchreid_daam.errors.InputError: a.jpg: not a readable image\n'
    )
    message = plain_message(InputError(text))
    assert message == 'a.jpg: not a readable image'
    assert plain_message(InputError('a: b')) == 'a: b'
    assert plain_message(InputError('')) == 'InputError'

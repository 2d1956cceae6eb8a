"""distributed.py and synced_norm.py: several processes are one run."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from tiny import tiny_config
from torchreid_daam import distributed
from torchreid_daam.checks.adaptation import check_processes
from torchreid_daam.errors import InputError
from torchreid_daam.synced_norm import SyncedBatchNorm, synced

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason='torch without distributed'
)


def load(path):
    return torch.load(path, weights_only=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def started(arguments, number, **more):
    """As torchrun starts them, with the number of threads of now."""
    shared = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(HERE.parent), str(HERE)]),
        'WORLD_SIZE': str(number),
        'LOCAL_WORLD_SIZE': str(number),
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(free_port()),
        'OMP_NUM_THREADS': '1',
    }
    return [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={**shared, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )
        for rank in range(number)
    ]


def ended(processes, seconds=240):
    """Their exit codes and what they wrote to stderr."""
    try:
        told = [p.communicate(timeout=seconds) for p in processes]
    finally:
        for process in processes:
            with contextlib.suppress(OSError):
                process.kill()
    return [p.returncode for p in processes], [err for _, err in told]


@pytest.fixture(scope='module')
def tiny_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('several')
    cfg = tiny_config(folder)
    from torchreid_daam.job import prepare

    prepare(cfg)
    return Path(cfg.data.root)


@pytest.mark.parametrize('number', [2, 4])
def test_five_steps_are_those_of_one_process(tiny_root, tmp_path, number):
    found = {}
    for n in (1, number):
        out = tmp_path / str(n)
        out.mkdir()
        script = [HERE / 'several.py', 'STEPS', tiny_root, out]
        codes, errors = ended(started(script, n))
        assert codes == [0] * n, errors
        found[n] = [load(out / f'STEPS-{r}.pth') for r in range(n)]
    (one,), several = found[1], found[number]
    for name, value in one['state'].items():
        for each in several:
            other = each['state'][name]
            assert torch.equal(other, several[0]['state'][name]), name
            difference = (value.double() - other.double()).abs().max()
            assert difference < 1e-9, (name, difference)
    # The log says what the whole batch gave.
    for mine, theirs in zip(one['values'], several[0]['values'], strict=True):
        assert theirs == pytest.approx(mine, abs=1e-6)


def test_labels_and_features_are_the_same_everywhere(tiny_root, tmp_path):
    found = {}
    for n in (1, 2):
        out = tmp_path / str(n)
        out.mkdir()
        script = [HERE / 'several.py', 'ROUNDS', tiny_root, out]
        codes, errors = ended(started(script, n))
        assert codes == [0] * n, errors
        found[n] = [load(out / f'ROUNDS-{r}.pth') for r in range(n)]
    first, second = found[2]
    for name in ('labels', 'features'):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], found[1][0][name])


def command(folder, *settings):
    """The command line on the smallest pair, settings in a file."""
    cfg = tiny_config(folder)
    cfg.train.rounds = 2
    cfg.train.round_epoch = 3
    cfg.train.checkpoint_minutes = 0.0
    path = folder / 'settings.yaml'
    path.write_text(cfg.dump())
    main = HERE.parent / 'projects' / 'daam' / 'main.py'
    return [main, '--config-file', path, *settings]


@pytest.fixture
def two_rounds(tiny_root, tmp_path):
    shutil.copytree(tiny_root, tmp_path / 'data')
    return command(tmp_path)


def test_a_killed_run_goes_on_with_the_same_bits(two_rounds, tmp_path):
    log = tmp_path / 'log'
    # The look before it moves no bit here either.
    first = [*two_rounds, 'train.preflight', 'True']
    codes, errors = ended(started(first, 2))
    assert codes == [0, 0], errors
    assert (log / 'check.json').is_file()
    assert yaml.safe_load((log / 'run.json').read_text())['processes'] == 2
    whole = (log / 'results.json').read_text()
    weights = load(log / 'checkpoints' / 'last.pth')
    shutil.rmtree(log)
    processes = started([*two_rounds, 'model.resume', 'auto'], 2)
    deadline = time.monotonic() + 120
    while not (log / 'pseudo_labels' / 'round-1.npz').exists():
        assert time.monotonic() < deadline
        assert processes[0].poll() is None, ended(processes)
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGKILL)
    begun = time.monotonic()
    codes, errors = ended(processes, 60)
    assert time.monotonic() - begun < 60
    assert codes == [1, -signal.SIGKILL]
    assert re.fullmatch(
        r'error: another process of this run ended[^\n]*\n', errors[0]
    ), errors
    codes, errors = ended(started([*two_rounds, 'model.resume', 'auto'], 2))
    assert codes == [0, 0], errors
    assert (log / 'results.json').read_text() == whole
    again = load(log / 'checkpoints' / 'last.pth')
    for name, value in weights['state_dict'].items():
        assert torch.equal(value, again['state_dict'][name]), name


def test_a_signal_to_one_ends_both_with_a_checkpoint(two_rounds, tmp_path):
    # An epoch without an end: between two, the process that has the signal
    # ends at once, and the other only sees that it is gone.
    long = [*two_rounds, 'train.epoch_length', '100000']
    long += ['train.checkpoint_minutes', '0.001']
    processes = started(long, 2)
    last = tmp_path / 'log' / 'checkpoints' / 'last.pth'
    labels = tmp_path / 'log' / 'pseudo_labels' / 'round-1.npz'
    deadline = time.monotonic() + 120
    while not (
        labels.exists() and last.stat().st_mtime_ns > labels.stat().st_mtime_ns
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    codes, errors = ended(processes, 60)
    assert codes == [143, 143], errors
    assert load(last)['batch'] > 0


def test_settings_that_are_wrong(two_rounds):
    codes, errors = ended(started([*two_rounds, 'train.batch_size', '9'], 2))
    assert codes[0] == 2
    assert 'train.batch_size=9: torchrun with 2' in errors[0]
    assert errors[0].count('\n') == 1
    assert (codes[1], errors[1]) == (2, '')  # once is enough


def test_a_world_of_no_size(monkeypatch):
    for name in ('RANK', 'MASTER_PORT', 'MASTER_ADDR'):
        monkeypatch.setenv(name, '0')
    for size in ('x', '0', '-1', ''):
        monkeypatch.setenv('WORLD_SIZE', size)
        with pytest.raises(InputError, match=f'WORLD_SIZE={size}: the number'):
            distributed.launched()


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train.batch_size', 9),
        ('train.batch_size', 2),
        ('loss.name', 'softmax'),
        ('loss.daam.domain_loss', 'mmd'),
        ('loss.daam.reduction', 'sum'),
    ],
)
def test_what_several_processes_do_not_do(tmp_path, key, value):
    cfg = tiny_config(tmp_path)
    cfg.merge_from_list([key, value])
    check_processes(cfg, 1)
    with pytest.raises(InputError, match=re.escape(f'{key}={value}: ')):
        check_processes(cfg, 2)


def test_a_gpu_for_each(monkeypatch):
    for name in ('RANK', 'LOCAL_RANK', 'MASTER_PORT'):
        monkeypatch.setenv(name, '1')
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with (
        pytest.raises(InputError, match='1 GPUs here, but process 1'),
        distributed.joined('cuda'),
    ):
        pass


def test_alone_nothing_happens():
    assert (distributed.size(), distributed.rank()) == (1, 0)
    rows = torch.arange(5)
    assert distributed.share(rows) is rows
    assert torch.equal(distributed.gathered(rows, 5), rows)
    assert distributed.shared(lambda: 3) == 3
    values = {'loss': rows}
    assert distributed.averaged(values) is values
    with distributed.in_turn():
        assert distributed.first() and not distributed.anywhere(False)


def test_shares_cover_all_rows(monkeypatch):
    monkeypatch.setattr(distributed, 'size', lambda: 3)
    assert distributed.bounds(7) == [(0, 2), (2, 4), (4, 7)]
    assert distributed.bounds(2) == [(0, 0), (0, 1), (1, 2)]


@pytest.fixture
def alone(monkeypatch):
    """A sum over one process."""
    monkeypatch.setattr(torch.distributed, 'all_reduce', lambda *_, **__: None)


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('shape', [(6, 4), (6, 4, 5, 3)])
def test_the_layer_is_torchs_on_one_batch(alone, shape, momentum):
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    torch.manual_seed(0)
    model = torch.nn.Sequential(kind(4, momentum=momentum)).double()
    torch.nn.init.normal_(model[0].weight)
    plain = torch.nn.Sequential(kind(4, momentum=momentum)).double()
    plain.load_state_dict(model.state_dict())
    weight = model[0].weight
    synced(model, cuda=False)
    assert type(model[0]) is SyncedBatchNorm and model[0].weight is weight
    assert synced(model, cuda=False)[0] is model[0]
    for _ in range(2):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        x_plain = x.detach().clone().requires_grad_()
        y, y_plain = model(x), plain(x_plain)
        torch.testing.assert_close(y, y_plain)
        y.pow(3).sum().backward()
        y_plain.pow(3).sum().backward()
        torch.testing.assert_close(x.grad, x_plain.grad)
        torch.testing.assert_close(weight.grad, plain[0].weight.grad)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
    model.eval(), plain.eval()
    torch.testing.assert_close(model(x), plain(x_plain))

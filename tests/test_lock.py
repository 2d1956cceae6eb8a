"""runs/lock.py: one writer in a folder, and none that is dead."""

import os
import signal
import subprocess
import sys

import pytest

from command import environment
from torchreid_daam.errors import InputError
from torchreid_daam.runs.lock import owned

HOLD = """
import sys, time
from torchreid_daam.runs.lock import owned
with owned(sys.argv[1], 'data.save_dir'):
    print('held', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_told_the_first_ones_pid(holder, tmp_path):
    with (
        pytest.raises(InputError, match=f'process {holder.pid} is writing'),
        owned(tmp_path, 'data.save_dir'),
    ):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with owned(tmp_path, 'data.save_dir'):  # taken over
        assert (tmp_path / '.owner').read_text() == f'{os.getpid()}\n'


def test_an_owner_that_is_no_text(holder, tmp_path):
    (tmp_path / '.owner').write_bytes(b'\xff\xfe')
    with (
        pytest.raises(InputError, match=r'process \(unknown\) is writing'),
        owned(tmp_path, 'data.save_dir'),
    ):
        pass


def test_a_folder_in_the_place_of_the_lock(tmp_path):
    (tmp_path / '.lock').mkdir()
    with (
        pytest.raises(InputError, match=r'\.lock in it is a folder'),
        owned(tmp_path, 'data.save_dir'),
    ):
        pass


def test_children_of_a_dead_owner_are_waited_for(holder, tmp_path):
    holder.kill()
    holder.wait()
    code = HOLD.replace('time.sleep(60)', 'time.sleep(2)')
    child = subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert child.stdout.readline() == 'held\n'
    (tmp_path / '.owner').write_text(f'{holder.pid}\n')
    with owned(tmp_path, 'data.save_dir'):
        pass
    child.wait()


def test_it_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), owned(tmp_path / 'new', 'x'):
            raise KeyError
    assert not (tmp_path / 'new' / '.owner').exists()

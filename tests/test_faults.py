"""benchmarks/faults.py: where a kill fell, and its short form."""

import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from command import REPO, environment
from torchreid_daam.runs.lock import owned

CALL = 0.5  # seconds that the benchmark believes the call to take


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'benchmarks')
    import faults

    return faults


@pytest.fixture
def campaign(faults, monkeypatch, tmp_path):
    """A campaign whose runs are as long as their call is said to last."""

    def told_run(root, folder, kill, told):
        (tmp_path / 'pid').write_text(str(os.getpid()))
        os.write(told, b'(')
        time.sleep(kill.call)
        os.write(told, b')')
        time.sleep(60)

    def run(root, folder, workers, *more):
        folder.with_suffix('.txt').touch()
        folder.mkdir()
        return 0

    monkeypatch.setattr(faults, 'told_run', told_run)
    monkeypatch.setattr(faults, 'run', run)
    monkeypatch.setattr(faults, 'digests', lambda folder: {})
    found = object.__new__(faults.Campaign)
    found.out, found.data, found.seed = tmp_path, tmp_path / 'data', 0
    found.times = {'clustering': [CALL] * 61}
    found.expected = {}
    return found


@pytest.mark.parametrize(('lasts', 'inside'), [(60, True), (0, False)])
def test_a_kill_behind_its_call_is_known(
    faults, campaign, tmp_path, lasts, inside
):
    kill = faults.Kill('clustering', lasts, 0.5, 0)
    outcome = campaign.strike(tmp_path / 'run', kill)
    assert outcome == faults.Outcome(True, inside, True, [], 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'pid').read_text()), 0)


def test_a_run_that_ended_before_its_kill(
    faults, campaign, tmp_path, monkeypatch
):
    """Its number may be another process's by then: nothing is sent."""
    rest = time.sleep

    def sleep(seconds):
        rest(seconds)
        multiprocessing.active_children()  # takes leave of what has ended

    monkeypatch.setattr(time, 'sleep', sleep)
    monkeypatch.setattr(
        faults, 'told_run', lambda *args: os.write(args[-1], b'()') * 0
    )
    kill = faults.Kill('clustering', 0, 1.0, 0)
    outcome = campaign.strike(tmp_path / 'run', kill)
    assert outcome == faults.Outcome(False, False, True, [], 0)


def test_another_run_is_killed_where_one_missed(
    faults, campaign, monkeypatch, tmp_path
):
    shares = []

    def strike(self, folder, kill):
        shares.append(kill.share)
        return faults.Outcome(True, len(shares) == 3, True, [], 0)

    monkeypatch.setattr(faults.Campaign, 'strike', strike)
    tries = campaign.outcomes(7, faults.Kill('clustering', 0, 0.99, 0))
    assert [one.inside for one in tries] == [False, False, True]
    assert shares[0] == 0.99 and len(set(shares)) == 3
    # A campaign that goes on takes what is known.
    assert campaign.outcomes(7, None) == tries and len(shares) == 3


def test_a_campaign_goes_on_as_the_same_one(faults, tmp_path):
    (tmp_path / 'campaign.json').write_text(json.dumps({'seed': 1}))
    with pytest.raises(SystemExit, match='of other terms'):
        faults.Campaign(tmp_path, {'seed': 2})


def test_two_campaigns_do_not_share_a_folder(
    faults, tmp_path, monkeypatch, capsys
):
    """They would remove each other's runs and call them unequal."""
    monkeypatch.setattr(sys, 'argv', ['faults.py', '--out', str(tmp_path)])
    with owned(tmp_path, 'first'):
        monkeypatch.setattr('torchreid_daam.runs.lock.A_MOMENT', 0.1)
        assert faults.main() == 2
    told = f'error: --out={tmp_path}: process {os.getpid()} is writing there'
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.slow
def test_killed_runs_go_on_to_the_same_bits(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, str(REPO / 'benchmarks' / 'faults.py')),
            *('--kills', '8', '--per-phase', '1', '--seed', '1'),
            *('--jobs', '1', '--out', str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        env=environment(OMP_NUM_THREADS='1'),
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = done.stdout.split('| all |')[1].splitlines()[0]
    _, runs, killed, inside, equal, unreadable, left = row.split('|')[:7]
    assert (int(inside), int(unreadable), int(left)) == (8, 0, 0)
    assert int(equal) == int(runs) >= int(killed) >= 8

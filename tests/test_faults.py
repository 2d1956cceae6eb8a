"""The short form of benchmarks/faults.py: a kill in each phase, resumed."""

import subprocess
import sys

import pytest

from command import REPO, environment


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
    runs, killed, equal, unreadable, left = row.strip(' |').split(' | ')
    assert (runs, equal, unreadable, left) == ('8', '8', '0', '0')
    # One that is killed "anywhere" may have just ended.
    assert int(killed) >= 7

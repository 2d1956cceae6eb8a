"""bitcheck tells an equal commit from a changed one, and cleans up."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TINY = ('train.pretrain_epoch 1 train.rounds 1 train.round_epoch 1').split()
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
CLEAN.pop('PYTHONPATH', None)


def git(folder: Path, *args: str) -> str:
    settings = (
        'user.name=t',
        'user.email=t@localhost',
        'commit.gpgsign=no',
        'core.hooksPath=/dev/null',
    )
    options = [piece for value in settings for piece in ('-c', value)]
    return subprocess.run(
        [
            'git',
            '-C',
            folder,
            *options,
            '-c',
            'core.hooksPath=/dev/null',
            *args,
        ],
        env=CLEAN,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def command(clone: Path, ref: str) -> list[str]:
    return [sys.executable, str(clone / 'tests/bitcheck.py'), ref, '--', *TINY]


def bitcheck(
    clone: Path, ref: str, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(clone, ref),
        cwd=clone,
        env={**CLEAN, **env},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope='module')
def clone(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code in a repository of its own: HEAD as it is, HEAD~1 changed."""
    clone = tmp_path_factory.mktemp('bitcheck') / 'clone'
    skip = shutil.ignore_patterns('__pycache__', '.*')
    for name in ('torchreid_daam', 'projects'):
        shutil.copytree(repo / name, clone / name, ignore=skip)
    (clone / 'tests').mkdir()
    shutil.copy(repo / 'tests/bitcheck.py', clone / 'tests')
    (clone / '.gitignore').write_text('__pycache__/\n')
    tree = clone / 'torchreid_daam/config/tree.py'
    text = tree.read_text(encoding='utf-8')
    changed, count = re.subn(r'(weight_orth = )1\.0', r'\g<1>0.5', text)
    assert count == 1
    git(clone.parent, 'init', '--quiet', str(clone))
    for content, message in ((changed, 'a changed default'), (text, 'as is')):
        tree.write_text(content, encoding='utf-8')
        git(clone, 'add', '--all')
        git(clone, 'commit', '--quiet', '-m', message)
    return clone


def worktrees(clone: Path) -> int:
    return len(git(clone, 'worktree', 'list').splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(('ref', 'code'), [('HEAD', 0), ('HEAD~1', 1)])
def test_says_whether_a_commit_gives_the_same_bits(clone, ref, code):
    done = bitcheck(clone, ref)
    assert done.returncode == code, done.stdout + done.stderr
    said = dict(
        line.split('  (')[0].split(maxsplit=1)[::-1]
        for line in done.stdout.splitlines()
        if line.startswith(('equal', 'UNEQUAL'))
    )
    # The first labels come before Eq. 11 has a say in anything.
    first = next(item for item in said if item.startswith('labels'))
    assert said[first] == 'equal'
    word = 'UNEQUAL' if code else 'equal'
    assert said['weights'] == said['results.json'] == word
    assert worktrees(clone) == 1


def test_a_ref_that_is_no_commit(clone):
    done = bitcheck(clone, 'no-such-ref')
    assert done.returncode == 2
    assert 'no-such-ref is not a commit' in done.stderr
    assert 'Traceback' not in done.stderr


def test_another_package_that_would_win_is_noticed(clone, repo, tmp_path):
    # What an editable install with an eager import hook does.
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys\n'
        'from importlib.machinery import PathFinder\n'
        'class Hook:\n'
        '    @staticmethod\n'
        '    def find_spec(name, path=None, target=None):\n'
        "        if name == 'torchreid_daam':\n"
        f'            return PathFinder.find_spec(name, [{str(repo)!r}])\n'
        'sys.meta_path.insert(0, Hook)\n'
    )
    done = bitcheck(clone, 'HEAD', PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert f'imported from {repo / "torchreid_daam"}' in done.stderr
    assert worktrees(clone) == 1


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(clone, tmp_path):
    child = subprocess.Popen(
        command(clone, 'HEAD'),
        cwd=clone,
        env={**CLEAN, 'TMPDIR': str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert 'running' in child.stdout.readline()
    assert worktrees(clone) == 2
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert worktrees(clone) == 1
    assert list(tmp_path.iterdir()) == []

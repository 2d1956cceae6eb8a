"""runs/console.py: log and progress."""

import io
import sys

from torchreid_daam.runs.console import Tee, logged, progress


def test_tee_writes_everywhere():
    one, other = io.StringIO(), io.StringIO()
    tee = Tee(one, other)
    assert tee.write('abc') == 3
    tee.flush()
    assert one.getvalue() == other.getvalue() == 'abc'
    assert not tee.isatty()


def test_logged_copies_stdout_and_gives_it_back(tmp_path, capsys):
    path = tmp_path / 'deep' / 'train.log'
    before = sys.stdout
    with logged(path):
        print('one')
        assert path.read_text() == 'one\n'  # while the run goes on
    print('two')
    with logged(path):
        print('three')
    assert sys.stdout is before and not before.closed
    assert path.read_text() == 'one\nthree\n'
    assert capsys.readouterr().out == 'one\ntwo\nthree\n'


def test_logged_after_an_error(tmp_path):
    before = sys.stdout
    try:
        with logged(tmp_path / 'log'):
            print('last words')
            raise RuntimeError
    except RuntimeError:
        pass
    assert sys.stdout is before
    assert (tmp_path / 'log').read_text() == 'last words\n'


def test_progress_is_silent_without_a_terminal(capsys):
    assert list(progress(iter('abc'), 'reading', 3)) == ['a', 'b', 'c']
    assert capsys.readouterr() == ('', '')


def test_progress_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    assert list(progress([1, 2], 'reading')) == [1, 2]
    captured = capsys.readouterr()
    assert captured.out == '' and 'reading' in captured.err

"""runs/environment.py: where and with what a run was made."""

import hashlib
import json
import re
import time

import pytest
import torch

from torchreid_daam.runs import environment


def test_describe(monkeypatch):
    monkeypatch.setattr('sys.argv', ['main.py', '--dry-run'])
    parts = [
        {'started': '2026-01-01T00:00:00+00:00', 'seconds': 5.2},
        {'started': '2026-01-02T00:00:00+00:00', 'seconds': 0.3},
    ]
    found = environment.describe(parts, 'cpu', {'source': 'ab'})
    json.dumps(found)
    assert found['command'] == ['main.py', '--dry-run']
    assert (found['seconds'], found['parts']) == (5.5, parts)
    assert found['started'] == '2026-01-01T00:00:00+00:00'
    assert (
        found['versions']['torch'].split('+')[0]
        == (torch.__version__.split('+')[0])
    )
    assert found['threads'] == torch.get_num_threads()
    assert found['digests'] == {'source': 'ab'}


def test_a_package_that_is_not_there_is_null(monkeypatch):
    monkeypatch.setattr(environment, 'PACKAGES', ('no-such-package',))
    found = environment.describe([{'started': '', 'seconds': 0}], 'cpu', {})
    assert found['versions'] == {'no-such-package': None}


def test_digest_is_sha256_of_lines():
    wanted = hashlib.sha256(b"('a', 1)\n('b', 2)\n").hexdigest()
    assert environment.digest([('a', 1), ('b', 2)]) == wanted
    assert environment.digest([('b', 2), ('a', 1)]) != wanted
    assert environment.digest(['ab']) != environment.digest(['a', 'b'])


def test_peak_memory_is_that_of_a_process_with_torch():
    assert 0.1 < environment.peak_memory() < 20


def test_footer():
    line = environment.footer(time.time() - 61, 'cpu')
    assert re.fullmatch(
        r'6[12] s on \d+ of \d+ cores \(CPU\), \d+\.\d\d GB at most', line
    )


def test_peak_memory_remembers_processes_that_are_gone(monkeypatch):
    class Child:
        pid = 1

    monkeypatch.setattr(environment, '_highest', 0)
    monkeypatch.setattr(environment, '_peak_of', lambda pid: 5 * 10**6)
    children = [Child(), Child()]
    monkeypatch.setattr(
        environment.multiprocessing, 'active_children', lambda: children
    )
    with_them = environment.peak_memory()
    assert with_them > 10
    children.clear()
    assert environment.peak_memory() == with_them


@pytest.mark.parametrize('what', ['peak_memory', 'footer'])
def test_without_the_resource_module(monkeypatch, what):
    monkeypatch.setattr(environment, 'resource', None)
    if what == 'peak_memory':
        assert environment.peak_memory() is None
    else:
        assert 'GB' not in environment.footer(time.time(), 'cpu')

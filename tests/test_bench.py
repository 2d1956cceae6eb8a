"""benchmarks/bench.py: what a benchmark prints stands in the document."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'


def bench(*words):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / 'bench.py'), *map(str, words)],
        capture_output=True,
        text=True,
    )


@pytest.fixture
def doc(tmp_path):
    path = tmp_path / 'performance.md'
    path.write_text(
        'Before.\n\n<!-- bench:evaluation -->\nold\n<!-- /bench -->\n\n'
        'After.\n'
    )
    return path


def test_a_part_is_replaced_and_the_rest_stays(doc):
    small = ('--', '--size', 'small', '--repeats', 1)
    done = bench('evaluation', '--doc', doc, *small)
    assert done.returncode == 0, done.stderr
    text = doc.read_text()
    assert text.startswith('Before.\n\n<!-- bench:evaluation -->\n```\n$ ')
    assert text.endswith('```\n<!-- /bench -->\n\nAfter.\n')
    assert 'python benchmarks/evaluation.py --size small --repeats 1' in text
    assert 'same bits' in text and 'old' not in text


def test_one_that_fails_leaves_its_part(doc):
    before = doc.read_text()
    done = bench('evaluation', '--doc', doc, '--', '--size', 'huge')
    assert done.returncode != 0
    assert doc.read_text() == before


def test_an_unknown_name(doc):
    done = bench('speed', '--doc', doc)
    assert done.returncode == 2 and 'speed: one of step' in done.stderr

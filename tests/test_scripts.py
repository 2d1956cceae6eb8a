"""Examples, benchmarks, doors: what they import of the package is there."""

import ast
import importlib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
SCRIPTS = sorted(
    path
    for folder in ('examples', 'benchmarks', 'projects')
    for path in (REPO / folder).rglob('*.py')
)


@pytest.mark.parametrize(
    'script', SCRIPTS, ids=lambda p: p.relative_to(REPO).as_posix()
)
def test_imported_names_exist(script):
    tree = ast.parse(script.read_text(encoding='utf-8'))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    for node in found:
        if (node.module or '').partition('.')[0] != 'torchreid_daam':
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            there = hasattr(module, alias.name)
            if not there:  # a module of a package
                importlib.import_module(f'{node.module}.{alias.name}')


def test_there_are_scripts():
    assert len(SCRIPTS) > 20

"""Imports run one way; read from the syntax trees, nothing is imported."""

import ast
from pathlib import Path

import pytest

PACKAGE = 'torchreid_daam'
# By module or package below torchreid_daam; the longest match counts.
LEVELS = {
    'attention': 0,
    'losses': 0,
    'domain_losses': 0,
    'resnet_tiny': 0,
    'pseudo_labels': 0,
    'guards': 0,
    'precision': 0,
    'distributed': 0,
    'costs': 0,
    'synced_norm': 0,
    'batch_norm': 0,
    'epochs': 0,
    'step': 0,
    'optim': 0,
    'config': 0,
    'backbones': 0,
    'randomness': 0,
    'errors': 0,
    'findings': 0,
    'first_look': 4,
    'data': 0,
    'data.paired': 0,
    'data.cache': 0,
    'data.seeded': 0,
    'data.samplers': 0,
    'data.domains': 0,
    'data.limit': 0,
    'data.reading': 0,
    'data.style': 0,
    'data.survey': 0,
    'data.tree': 0,
    'runs': 0,
    'tracklets': 0,
    'cluster_search': 1,
    'labelling': 1,
    'recipe': 0,
    'record': 0,
    'model': 1,
    'loading': 1,
    'data.lists': 0,
    'data.people': 0,
    'data.folder': 1,
    'data.scan': 1,
    'data.synthetic': 1,
    'evaluation': 1,
    'engine': 2,
    'delivery': 2,
    'delivery.figures': 2,
    'registry': 3,
    'building': 4,
    'check': 4,
    'checks': 4,
    'datamanager': 4,
    'derived': 4,
    'outcome': 4,
    'stock': 4,
    'job': 4,
    'run': 4,
    'run_data': 4,
    'use': 4,
    'calibrate_run': 4,
    'plan': 4,
    'preflight': 4,
    'export_run': 4,
    'export_material': 4,
    'report_compare': 4,
    'report_facts': 4,
    'report_material': 4,
    'report_parts': 4,
    'report_places': 4,
    'report_ranks': 4,
    'report_run': 4,
    'cli': 5,
    'arguments': 5,
    'commands': 5,
    '': 5,
    '__main__': 5,
}
# Packages in which a new module has the level of the others.
OPEN = (
    'checks',
    'config',
    'runs',
    'recipe',
    'data.synthetic',
    'evaluation',
    'delivery',
    'delivery.figures',
)
# The engine, and what it is made of, know no network and no method.
FORBIDDEN = {
    'engine': ('model', 'loading', 'recipe'),
    'labelling': ('model', 'loading', 'recipe'),
    'step': ('recipe',),
}
MAY_PRINT = ('run', 'first_look', 'cli', 'commands', 'plan')
PRIVATE_NAMES = ('__model_factory', '__image_datasets', '__video_datasets')


def level(module):
    """The level of a module such as ``data.paired``; None if it has none."""
    if module in LEVELS:
        return LEVELS[module]
    package = module.rpartition('.')[0]
    if package in OPEN:
        return LEVELS[package]
    return None


def imports(tree):
    """Pairs (statement, full name of what is imported, names taken)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            dots = '.' * node.level
            names = tuple(alias.name for alias in node.names)
            yield node, dots + (node.module or ''), names


def imported_modules(name, names, known):
    """Modules of the package that one statement imports, by short name."""
    if name != PACKAGE and not name.startswith(PACKAGE + '.'):
        return []
    short = name[len(PACKAGE) + 1 :]
    # `from torchreid_daam import registry` takes a module, not a name.
    below = [f'{short}.{n}' if short else n for n in names]
    modules = [module for module in below if module in known]
    return modules if names and len(modules) == len(names) else [short]


def check(module, source, known):
    """What is wrong with a module's source, one line each."""
    tree, own = ast.parse(source), level(module)
    if own is None:
        return [f'{module}: has no level; say one in LEVELS']
    wrong = []

    def blame(node, what):
        wrong.append(f'{module}:{node.lineno}: {what}')

    for node, name, names in imports(tree):
        if '*' in names:
            blame(node, 'import *')
        if name.startswith('.'):
            blame(node, 'relative import')
        top = name.split('.')[0]
        if top == 'torchreid':
            # The one form that works on both of its layouts.
            if name != 'torchreid' or names:
                blame(node, 'only `import torchreid` works everywhere')
            if own == 0 and module != 'backbones':
                blame(node, 'level 0 does not know torchreid')
        for other in imported_modules(name, names, known):
            other_level = level(other)
            if other_level is None:
                blame(node, f'imports {other}, which has no level')
            elif other_level > own:
                blame(node, f'level {own} imports {other}, {other_level}')
            if other.split('.')[0] in FORBIDDEN.get(module, ()):
                blame(node, f'must not import {other}')
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            blame(node, 'assert')
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == 'print'
            and module not in MAY_PRINT
        ):
            blame(node, 'print')
        text = getattr(node, 'value', None)
        texts = [text] if isinstance(text, str) else []
        texts += [getattr(node, 'attr', ''), getattr(node, 'id', '')]
        if set(texts) & set(PRIVATE_NAMES) and module != 'registry':
            blame(node, "one of torchreid's private names")
    return wrong


def modules(repo: Path):
    """Short module name -> path, for the whole package."""
    root = repo / PACKAGE
    found = {}
    for path in sorted(root.rglob('*.py')):
        parts = path.relative_to(root).with_suffix('').parts
        if parts[-1] == '__init__':
            parts = parts[:-1]
        found['.'.join(parts)] = path
    return found


def test_the_package(repo):
    known = modules(repo)
    assert len(known) > 30
    wrong = []
    for module, path in known.items():
        wrong += check(module, path.read_text(encoding='utf-8'), known)
    assert not wrong, '\n'.join(wrong)


def test_every_level_belongs_to_a_module(repo):
    assert set(LEVELS) <= set(modules(repo))


def test_the_registry_is_where_the_private_names_are(repo):
    text = (repo / PACKAGE / 'registry.py').read_text(encoding='utf-8')
    assert '__model_factory' in text and '__image_datasets' in text


BAD = """
import torchreid.utils
from torchreid import models
from torchreid.engine import Engine
import torchreid
from numpy import *
from . import losses
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam import registry, errors
from torchreid_daam import __version__
import torchreid_daam.run
def late():
    from torchreid_daam.model import DAAM
assert True
print('x')
vars(torchreid.models)['__model_factory']
"""


def test_the_checker_sees_each_fault():
    known = {*LEVELS, 'losses', 'registry'}
    found = check('losses', BAD, known)
    assert [line.partition(': ')[2] for line in sorted_by_line(found)] == [
        'only `import torchreid` works everywhere',
        'level 0 does not know torchreid',
        'only `import torchreid` works everywhere',
        'level 0 does not know torchreid',
        'only `import torchreid` works everywhere',
        'level 0 does not know torchreid',
        'level 0 does not know torchreid',
        'import *',
        'relative import',
        'level 0 imports engine, 2',
        'level 0 imports registry, 3',
        'level 0 imports , 5',
        'level 0 imports run, 4',
        'level 0 imports model, 1',
        'assert',
        'print',
        "one of torchreid's private names",
    ]


def sorted_by_line(lines):
    return sorted(lines, key=lambda line: int(line.split(':')[1]))


@pytest.mark.parametrize(
    ('module', 'source', 'fault'),
    [
        ('engine', 'from torchreid_daam.model import DAAM', 'must not'),
        ('engine', 'import torchreid_daam.recipe.x', 'must not'),
        ('engine', 'from torchreid_daam import model', 'must not'),
        ('novelty', '', 'has no level'),
        ('data.novelty', '', 'has no level'),
        ('cli', 'import torchreid_daam.novelty', 'which has no level'),
    ],
)
def test_single_faults(module, source, fault):
    assert fault in '\n'.join(check(module, source, set(LEVELS)))


@pytest.mark.parametrize(
    ('module', 'source'),
    [
        ('backbones', 'import torchreid'),
        ('model', 'from torchreid_daam.backbones import x'),
        ('runs.novelty', 'from torchreid_daam.runs.files import atomic'),
        ('run', 'from torchreid_daam.checks import x\nprint(1)'),
        ('registry', "vars(x)['__model_factory']"),
        ('cli', 'from torchreid_daam import __version__'),
        ('losses', 'import torch.nn\nfrom torch import nn'),
    ],
)
def test_what_is_allowed(module, source):
    assert check(module, source, set(LEVELS)) == []

"""docs/config.md against the tree of settings, in both directions."""

import ast
import re

import pytest

from torchreid_daam import get_default_config
from torchreid_daam.config import flatten
from torchreid_daam.config.values import CHOICES, TRANSFORMS

ROW = re.compile(r'\| `(\S+)` \| `(.+?)` \| (\S.*?) \| (.+) \|')


@pytest.fixture(scope='module')
def rows(repo):
    """Key -> default, torchreid's default and meaning, as printed."""
    text = (repo / 'docs' / 'config.md').read_text(encoding='utf-8')
    table = [line for line in text.splitlines() if line.startswith('| `')]
    found = [ROW.fullmatch(line) for line in table]
    assert all(found), [t for t, f in zip(table, found) if f is None]
    assert len({f[1] for f in found}) == len(found), 'a key twice'
    return {f[1]: f.groups()[1:] for f in found}


def test_every_key_is_listed_and_every_listed_key_exists(rows):
    assert sorted(rows) == sorted(flatten(get_default_config()))


def test_defaults_are_the_trees(rows):
    for key, default in flatten(get_default_config()).items():
        printed = ast.literal_eval(rows[key][0])
        assert printed == default, key
        assert type(printed) is type(default), key


def test_every_choice_is_named(rows):
    choices = CHOICES | {'data.transforms': TRANSFORMS}
    for key, allowed in choices.items():
        for value in allowed:
            assert f'`{value}`' in rows[key][2], (key, value)


def test_torchreids_column(rows):
    default = flatten(get_default_config())
    for key, (_, theirs, _) in rows.items():
        assert theirs in ('=', '–') or (
            ast.literal_eval(theirs.strip('`')) != default[key]
        ), key
    # torchreid's scripts/default_config.py
    assert rows['train.optim'][1] == "`'adam'`"
    assert rows['train.lr'][1] == '`0.0003`'
    assert rows['train.weight_decay'][1] == '='
    assert rows['pseudo_labels.method'][1] == '–'


def test_meanings_are_told(rows):
    for key, (*_, meaning) in rows.items():
        assert len(meaning) > 10, key

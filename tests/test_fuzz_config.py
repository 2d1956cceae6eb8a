"""Whatever a file or the command line says: it works, or one line says why."""

import string
import warnings

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from torchreid_daam.config import (
    check_values,
    flatten,
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.errors import InputError

KEYS = sorted(flatten(get_default_config()))
# The same examples each time, and no folder of those that failed.
bounded = settings(
    derandomize=True, database=None, deadline=None, max_examples=300
)

any_text = st.text(max_size=12) | st.text(
    string.digits + string.punctuation + 'einfxabcTrueNone \n\t', max_size=20
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, 0, -1])
    | st.floats()
    | any_text
    | st.dates()
    | st.binary(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
some_key = st.sampled_from(KEYS)
keys = some_key | some_key.map(lambda key: key.split('.')[0]) | any_text
trees = st.dictionaries(keys | st.integers() | st.none(), values, max_size=4)


def nested(flat):
    """``{'a.b': 1}`` as ``{'a': {'b': 1}}``."""
    tree = {}
    for key, value in flat.items():
        *path, name = key.split('.')
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return tree


def works_or_says_why(merge):
    """Merges into the defaults; gives the message, if any."""
    cfg = get_default_config()
    before = {key: type(value) for key, value in flatten(cfg).items()}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            merge(cfg)
            # What was taken has the type that all else relies on.
            after = {key: type(value) for key, value in flatten(cfg).items()}
            assert after == before
            check_values(cfg)
        except InputError as error:
            line = str(error)
            assert line and line.isprintable()
            return line
    return ''


@pytest.fixture(scope='module')
def merged(tmp_path_factory):
    """Merges a file of these bytes."""
    path = tmp_path_factory.mktemp('fuzz') / 'settings.yaml'

    def merge(content):
        path.write_bytes(content)
        return works_or_says_why(lambda cfg: merge_file(cfg, str(path)))

    return merge


def written(tree):
    return yaml.safe_dump(tree, allow_unicode=True).encode('utf-8', 'replace')


@bounded
@given(tree=trees)
def test_any_tree(tree, merged):
    merged(written(tree))


@bounded
@given(flat=st.dictionaries(some_key, values, max_size=3))
def test_known_keys_with_any_value(flat, merged):
    merged(written(nested(flat)))


@bounded
@given(content=st.binary(max_size=40) | any_text.map(str.encode))
@example(content=b'a: 2001-99-99')
@example(content=b'a: !!int x')
@example(content=b'a: !!bool x')
@example(content=b'a: !!timestamp x')
@example(content=b'a: !!float x')
@example(content=b'a: !!python/object/apply:os.getcwd []')
@example(content=b'&a {b: *a}')
@example(content=b'train: &a [*a]')
@example(content=b'[' * 5000)
@example(content=b'{a: ' * 5000)
@example(content=b'? [a]\n: b')
@example(content=b'train: {lr: ' + b'9' * 5000 + b'}')
@example(content=b'train: {lr: 0x' + b'f' * 5000 + b'}')
@example(content=b'data: {root: 0x' + b'f' * 5000 + b'}')
@example(content=b'0x' + b'f' * 5000 + b': 1')
@example(content=b'train: {lr: .inf}')
@example(content=b'data: {norm_std: [.nan, 1, 1]}')
def test_any_bytes(content, merged):
    merged(content)


@bounded
@given(words=st.lists(st.one_of(keys, any_text, values.map(repr)), max_size=6))
def test_any_words(words):
    works_or_says_why(lambda cfg: merge_options(cfg, words))


@bounded
@given(key=some_key, word=values.map(repr) | values.map(str) | any_text)
@example(key='train.lr', word='{[]: 1}')
@example(key='train.lr', word='{[]}')
@example(key='train.lr', word='9' * 400)
@example(key='train.lr', word='9' * 5000)
@example(key='train.lr', word='0x' + 'f' * 5000)
@example(key='train.rounds', word='0x' + 'f' * 5000)
@example(key='train.lr', word='1e999')
@example(key='train.lr', word='-' * 5000 + '1')
@example(key='train.lr', word='(' * 5000)
@example(key='train.lr', word='[' * 150 + ']' * 150)
@example(key='train.lr', word='a\0b')
@example(key='train.lr', word="'\\d'")
@example(key='train.lr', word='1if 2else 3')
@example(key='train.stepsize', word='[1e999]')
@example(key='data.norm_mean', word='[1e999, 0, 0]')
@example(key='data.norm_mean', word=f'[{"9" * 400}, 0, 0]')
@example(key='data.norm_std', word='()')
@example(key='test.ranks', word='[True]')
@example(key='train.seed', word=str(2**32))
@example(key='train.batch_size', word='0x' + 'f' * 5000)
@example(key='train.stepsize', word=str(2**63))
@example(key='data.root', word='a\nb')
@example(key='data.sources', word='\udcff')
def test_any_pair(key, word):
    line = works_or_says_why(lambda cfg: merge_options(cfg, [key, word]))
    if line:
        assert key.split('.')[0] in line


def test_a_handful_of_anchors_is_no_bomb(merged):
    """Nine lines that stand for a billion values: refused, not written out."""
    lines = ['a0: &a0 {x: 1}']
    for i in range(1, 30):
        lines.append(f'a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}')
    assert 'anchors written out' in merged('\n'.join(lines).encode())
    lines = ['a0: &a0 [1, 1]']
    for i in range(1, 30):
        lines.append(f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}]')
    lines.append('train: {stepsize: *a29}')
    assert 'anchors written out' in merged('\n'.join(lines).encode())
    # A few are fine.
    assert merged(b'train: {lr: &rate 0.1, pretrain_lr: *rate}') == ''


def test_the_fuzz_reaches_both_ends(merged):
    """Good settings are taken, bad ones named: the oracle can fail."""
    assert merged(b'train: {lr: 0.5}') == ''
    assert 'train.lr=x' in merged(b'train: {lr: x}')
    assert 'train.lr=inf: a number expected' in merged(b'train: {lr: .inf}')
    with pytest.raises(ZeroDivisionError):
        works_or_says_why(lambda cfg: 1 / 0)

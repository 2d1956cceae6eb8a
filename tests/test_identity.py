"""config/identity.py: which settings make another run of it."""

import pytest

from torchreid_daam.config import (
    config_hash,
    flatten,
    get_default_config,
    identity,
    merge_options,
)


def hash_with(*options):
    cfg = get_default_config()
    merge_options(cfg, options)
    return config_hash(cfg)


@pytest.mark.parametrize(
    'key',
    """
    data.save_dir data.root data.workers model.resume train.print_freq
    use_gpu test.eval_freq test.evaluate test.visrank
    """.split(),
)
def test_the_hash_ignores(key):
    other = {bool: 'True', int: '7', str: 'cpu'}
    kind = type(flatten(get_default_config())[key])
    assert hash_with(key, other[kind]) == hash_with()


def test_the_hash_changes_with_every_other_key():
    cfg = get_default_config()
    changes = {bool: lambda v: not v, str: lambda v: v + 'x'}
    changes |= {list: lambda v: v + (v[:1] or ['x'])}
    default, seen = config_hash(cfg), set()
    keys = set(flatten(cfg)) - set(identity.SILENT_KEYS) - {'train.max_epoch'}
    for key in sorted(keys):
        changed = get_default_config()
        *path, name = key.split('.')
        node = changed
        for part in path:
            node = node[part]
        change = changes.get(type(node[name]), lambda v: v + 1)
        node[name] = change(node[name])
        seen.add(config_hash(changed))
    assert len(seen) == len(keys) and default not in seen


def test_the_hash_and_max_epoch():
    # Derived with daam; a stock engine's own key.
    assert hash_with('train.max_epoch', '5') == hash_with()
    stock = ('loss.name', 'softmax', 'train.max_epoch')
    assert hash_with(*stock, '5') != hash_with(*stock, '6')


def test_the_hash_does_not_know_the_default_from_its_value():
    assert hash_with('train.lr', '1e-3', 'train.rounds', '7') == hash_with()
    one = hash_with('train.lr', '2', 'train.rounds', '3')
    assert one == hash_with('train.rounds', '3', 'train.lr', '2.0')
    assert len(one) == 16 and int(one, 16) >= 0

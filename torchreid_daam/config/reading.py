"""Settings from a file or the command line, in their default's type."""

import ast
import contextlib
import difflib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from yacs.config import CfgNode as CN

from torchreid_daam.config.removed import REMOVED, idle
from torchreid_daam.errors import InputError, one_line

MOST_NODES = 10_000


def flatten(cfg: Mapping, prefix: str = '') -> dict[str, Any]:
    """The tree as ``{'train.lr': 0.001, ...}``."""
    flat = {}
    for name, value in cfg.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f'{prefix}{name}.'))
        else:
            flat[f'{prefix}{name}'] = value
    return flat


def merge_file(cfg: CN, path: str) -> list[str]:
    """Takes the settings of a YAML file; returns the keys that it names.

    Raises:
        InputError: if it can't be read, or a key or value is wrong.
    """
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
    except OSError as error:
        raise InputError(f'--config-file={path}: {error.strerror}') from None
    except ValueError as error:  # a name or a text that is none
        raise InputError(f'{path}: not valid YAML ({error})') from None
    try:
        tree = yaml.safe_load(text)
        too_large = _is_too_large(tree)
        flat = {} if too_large else _flat(tree)
    # Besides YAMLError what its constructors happen to raise: a ValueError
    # for the 99th of May, a RecursionError for a thousand brackets.
    except Exception as error:
        reason = one_line(error)[:160] or type(error).__name__
        raise InputError(f'{path}: not valid YAML ({reason})') from None
    if too_large:
        raise InputError(
            f'{path}: more than {MOST_NODES} values, anchors written out'
        )
    if flat is None:
        raise InputError(f'{path}: holds no settings; `key: value` expected')
    for key, value in flat.items():
        _set(cfg, key, value, path)
    return list(flat)


def _is_too_large(tree: Any) -> bool:
    """A few anchors can stand for billions of values, or hold themselves."""
    nodes, left = [tree], MOST_NODES
    while nodes:
        node = nodes.pop()
        left -= 1
        if left < 0:
            return True
        if isinstance(node, Mapping):
            nodes += node.values()
        elif isinstance(node, list | tuple | set):
            nodes += node
    return False


def _flat(tree: Any) -> dict[str, Any] | None:
    if tree is None:
        return {}
    return flatten(tree) if isinstance(tree, Mapping) else None


def merge_options(cfg: CN, options: Sequence[str]) -> None:
    """Takes settings in pairs: ``['train.lr', '0.01', ...]``.

    Raises:
        InputError: if a key or value is wrong, or one has no partner.
    """
    options = list(options)
    if len(options) % 2:
        raise InputError(
            f'{_shown(options[-1])}: settings come in pairs, `key value`; the '
            'last one has no value'
        )
    for key, text in zip(options[::2], options[1::2], strict=True):
        _set(cfg, key, text, 'the command line')


def _set(cfg: CN, key: str, value: Any, where: str) -> None:
    if cfg.key_is_deprecated(key) or idle(key, value):
        return
    if key in REMOVED:
        raise InputError(
            f'{key}={_shown(value)}: was removed, since it did not help '
            f'(docs/plus.md); allowed is {REMOVED[key]}'
        )
    known = flatten(cfg)
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, 0.6)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise InputError(f'{_shown(key)}: unknown setting in {where}{hint}')
    *path, name = key.split('.')
    node = cfg
    for part in path:
        node = node[part]
    node[name] = _converted(key, value, known[key])


def _converted(key: str, value: Any, default: Any) -> Any:
    """The value in its default's type; whole numbers serve as floats."""
    if isinstance(value, str) and not isinstance(default, str):
        # YAML 1.1 reads 1e-3 as a word, as the command line reads all.
        value = _literal(value)
    kind = type(default)
    if kind is str and isinstance(value, int | float | type(None)):
        with contextlib.suppress(ValueError):  # thousands of digits
            value = '' if value is None else str(value)
    if kind is list and isinstance(value, tuple):
        value = list(value)
    if kind is list and isinstance(value, int | float | str):
        value = [value]
    if kind is list and isinstance(value, list):
        return _checked_elements(key, value, default)
    if kind in (int, float):
        value = _number(value, kind)
    if type(value) is not kind:
        names = {
            bool: 'True or False',
            int: 'a whole number',
            float: 'a number',
            list: 'a list',
            str: 'a text',
        }
        raise InputError(f'{key}={_shown(value)}: {names[kind]} expected')
    return value


def _literal(text: str) -> Any:
    """What Python reads in a text, or the text itself."""
    with warnings.catch_warnings():
        # Of strange words, which Python's parser comments on.
        warnings.simplefilter('ignore')
        # Its parser runs out of stack or memory on a thousand brackets.
        with contextlib.suppress(
            ValueError, SyntaxError, TypeError, MemoryError, RecursionError
        ):
            return ast.literal_eval(text)
    return text


def _number(value: Any, kind: type) -> Any:
    """The value as a number of this kind, or as it is where it is none.

    Neither infinity nor NaN is one, nor a whole number of over 63 bits.
    """
    if kind is float and type(value) in (int, float):
        with contextlib.suppress(OverflowError):
            return float(value) if math.isfinite(value) else str(value)
    if type(value) is int and abs(value) >= 2**63:
        return _shown(value)
    return value


def _shown(value: Any) -> str:
    """A value in a message, cut where nobody would read on."""
    try:
        text = str(value)
    except ValueError:  # Python writes no number of thousands of digits
        return 'a number of too many digits'
    return text if len(text) <= 200 else f'{text[:200]}...'


def _checked_elements(key: str, value: list, default: list) -> list:
    if not default:
        return value
    kind = type(default[0])
    checked = []
    for element in value:
        if kind in (int, float):
            element = _number(element, kind)
        if type(element) is not kind:
            raise InputError(
                f'{key}={_shown(value)}: each element has to be like '
                f'{default[0]!r}'
            )
        checked.append(element)
    return checked

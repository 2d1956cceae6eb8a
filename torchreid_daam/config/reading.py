"""Settings from a file or the command line, in their default's type."""

import ast
import contextlib
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from yacs.config import CfgNode as CN

from torchreid_daam.errors import InputError, one_line


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
            tree = yaml.safe_load(file)
    except OSError as error:
        raise InputError(f'--config-file={path}: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = one_line(error)
        raise InputError(f'{path}: not valid YAML ({reason[:160]})') from None
    if tree is None:
        return []
    if not isinstance(tree, Mapping):
        raise InputError(f'{path}: holds no settings; `key: value` expected')
    given = flatten(tree)
    for key, value in given.items():
        _set(cfg, str(key), value, path)
    return [str(key) for key in given]


def merge_options(cfg: CN, options: Sequence[str]) -> None:
    """Takes settings in pairs: ``['train.lr', '0.01', ...]``.

    Raises:
        InputError: if a key or value is wrong, or one has no partner.
    """
    options = list(options)
    if len(options) % 2:
        raise InputError(
            f'{options[-1]}: settings come in pairs, `key value`; the last '
            'one has no value'
        )
    for key, text in zip(options[::2], options[1::2], strict=True):
        _set(cfg, key, text, 'the command line')


def _set(cfg: CN, key: str, value: Any, where: str) -> None:
    if cfg.key_is_deprecated(key):
        return
    known = flatten(cfg)
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, 0.6)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise InputError(f'{key}: unknown setting in {where}{hint}')
    *path, name = key.split('.')
    node = cfg
    for part in path:
        node = node[part]
    node[name] = _converted(key, value, known[key])


def _converted(key: str, value: Any, default: Any) -> Any:
    """The value in its default's type; whole numbers serve as floats."""
    if isinstance(value, str) and not isinstance(default, str):
        # YAML 1.1 reads 1e-3 as a word, as the command line reads all.
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if kind is str and isinstance(value, int | float | type(None)):
        value = '' if value is None else str(value)
    if kind is list and isinstance(value, tuple):
        value = list(value)
    if kind is list and isinstance(value, int | float | str):
        value = [value]
    if type(value) is not kind:
        names = {
            bool: 'True or False',
            int: 'a whole number',
            float: 'a number',
            list: 'a list',
            str: 'a text',
        }
        raise InputError(f'{key}={value}: {names[kind]} expected')
    if kind is float and value != value:
        raise InputError(f'{key}={value}: a number expected')
    return _checked_elements(key, value, default) if kind is list else value


def _checked_elements(key: str, value: list, default: list) -> list:
    if not default:
        return value
    kind = type(default[0])
    allowed = (int, float) if kind is float else (kind,)
    for element in value:
        if type(element) not in allowed:
            raise InputError(
                f'{key}={value}: each element has to be like {default[0]!r}'
            )
    return [kind(element) for element in value]

"""The command line of the tables: suites, report, and a worker's door."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from yacs.config import CfgNode as CN

from tables.rows import EMBEDDED_ONLY, TITLES
from tables.source import HERE
from torchreid_daam.config import (
    flatten,
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.errors import InputError, plain_message

CONFIG = HERE.parent / 'configs' / 'synthetic.yaml'
ALL = tuple(key for key in TITLES if key not in EMBEDDED_ONLY)
QUICK = ('table3', 'table4')
OUT = Path('log/tables')
RESULTS = 'results.md'


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs suites, or writes their report; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ['work']:
            from tables.worker import main as work

            return work(Path(words[1]))
        if words[:1] == ['report']:
            return _report(words[1:])
        return _run(words)
    except InputError as error:
        print(f'error: {plain_message(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    words, pairs = _split(words)
    args = _arguments(words)
    names = args.suites or list(QUICK if args.quick else ())
    if 'all' in names:
        names = list(ALL)
    if not names:
        raise InputError(
            f'no suite: one or more of {", ".join(TITLES)}, or all'
        )
    seeds = args.seeds
    if args.quick and seeds is None:
        seeds = [0]
    if seeds is not None:
        if not seeds:
            raise InputError('--seeds: at least one is needed')
        if min(seeds) < 0:
            raise InputError(f'--seeds={min(seeds)}: at least 0 expected')
        seeds = sorted(set(seeds))
    if args.workers < 1:
        raise InputError(f'--workers={args.workers}: at least 1 expected')
    from tables.runner import run_suites

    return run_suites(
        _base(args, pairs),
        names,
        seeds,
        rows=args.rows,
        workers=args.workers,
        out=args.out.expanduser(),
        command=['ablation.py', *words, *pairs],
    )


def _report(words: list[str]) -> int:
    parser = _Parser(prog='ablation.py report')
    parser.add_argument('--out', type=Path, default=OUT)
    parser.add_argument('--doc', type=Path, help='Markdown file to write')
    parser.add_argument('--root', default='', help='folder of the data sets')
    args = parser.parse_args(words)
    from tables.publish import publish

    out = args.out.expanduser()
    doc = args.doc or out / RESULTS
    publish(out, doc, root=args.root)
    return 0


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog='ablation.py',
        description="Re-runs the paper's tables; goes on where it was.",
        epilog='At the end settings in pairs, for all rows: train.rounds 3. '
        '`ablation.py report --out OUT --doc FILE` writes the tables again.',
    )
    add = parser.add_argument
    add('suites', nargs='*', help=f'{", ".join(TITLES)}, or all')
    add(
        '--rows',
        nargs='+',
        help="of the suites, these rows alone; '*' stands for any part",
    )
    add(
        '--seeds',
        nargs='*',
        type=int,
        help='by default 5, of fig6, choices, pairs and own 3',
    )
    add('--quick', action='store_true', help='table3 and table4, one seed')
    add(
        '--workers',
        type=int,
        default=2,
        help='processes of one thread each (default 2)',
    )
    add('--out', type=Path, default=OUT, help=f'folder (default {OUT})')
    add('--config-file', default=str(CONFIG), help='YAML file of settings')
    add('-s', '--sources', nargs='+', help='labelled data sets')
    add('-t', '--targets', nargs='+', help='unlabelled data sets')
    add('--root', default='', help='folder of the data sets')
    return parser.parse_args(words)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Arguments, and from the first known setting on, the pairs."""
    known = flatten(get_default_config())
    at = next((i for i, w in enumerate(words) if w in known), len(words))
    for word in words[at::2]:
        if word.startswith('--'):
            raise InputError(f'{word}: has to stand before the settings')
    return words[:at], words[at:]


def _base(args: argparse.Namespace, pairs: list[str]) -> CN:
    cfg = get_default_config()
    merge_file(cfg, args.config_file)
    if args.root:
        cfg.data.root = args.root
    for name in ('sources', 'targets'):
        if values := getattr(args, name):
            cfg.data[name] = values
    merge_options(cfg, pairs)
    return cfg

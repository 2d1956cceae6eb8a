"""The command line: parsing, exit codes, the log."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from yacs.config import CfgNode as CN

from torchreid_daam.check import check
from torchreid_daam.config import (
    flatten,
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.errors import InputError, plain_message
from torchreid_daam.plan import describe_plan
from torchreid_daam.run import adapt
from torchreid_daam.runs.console import logged


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


class _Terminated(BaseException):
    """SIGTERM arrived."""


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m torchreid_daam COMMAND ...``; returns the exit code."""
    from torchreid_daam import __version__

    parser = _Parser(
        prog='torchreid_daam',
        description='Adapts re-identification models to other cameras.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True)
    _add_adapt_arguments(
        commands.add_parser('adapt', help='train, adapt or evaluate a model')
    )
    _add_settings(
        commands.add_parser('check', help='look at the images of a run first')
    )
    return _guarded(lambda: _run(parser.parse_args(arguments)))


def adapt_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/main.py``: the adapt command without its name."""
    parser = _Parser(description='Adapts a re-identification model by DAAM.')
    _add_adapt_arguments(parser)
    return _guarded(lambda: _adapt(parser.parse_args(arguments)))


def check_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/check.py``: the check command without its name."""
    parser = _Parser(description='Looks at the images of a run first.')
    _add_settings(parser)
    return _guarded(lambda: _check(parser.parse_args(arguments)))


def _run(args: argparse.Namespace) -> None:
    {'adapt': _adapt, 'check': _check}[args.command](args)


def _add_adapt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='show settings, data, steps and expected time; train nothing',
    )
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--config-file', default='', help='YAML file of settings')
    add('-s', '--sources', nargs='+', help='labelled data sets')
    add('-t', '--targets', nargs='+', help='unlabelled data sets')
    add('--source-folder', help='labelled images, a subfolder per identity')
    add('--target-folder', nargs='+', help='unlabelled images, any tree')
    add('--transforms', nargs='+', help='augmentation')
    add('--root', default='', help='folder of the data sets')
    add(
        'opts',
        nargs=argparse.REMAINDER,
        help='settings as pairs: train.lr 0.01 ...; see docs/config.md',
    )


def _adapt(args: argparse.Namespace) -> None:
    if '--dry-run' in args.opts:  # argparse gives the pairs all that follows
        args.opts.remove('--dry-run')
        args.dry_run = True
    cfg = _settings(args)
    if args.dry_run:
        print(describe_plan(cfg))
        return
    name = 'test' if cfg.test.evaluate else 'train'
    stamp = time.strftime('%Y-%m-%d-%H-%M-%S')
    with logged(Path(cfg.data.save_dir) / f'{name}.log-{stamp}'):
        adapt(cfg)


def _check(args: argparse.Namespace) -> None:
    report = check(_settings(args))
    print(report.text())
    report.raise_problems()


def _settings(args: argparse.Namespace) -> CN:
    """Defaults, then the file, then named arguments, then pairs."""
    cfg = get_default_config()
    known = flatten(cfg)
    options = list(args.opts)
    named = set()
    if args.config_file:
        named.update(merge_file(cfg, args.config_file))
    if args.root:
        cfg.data.root = args.root
    if args.source_folder:
        if args.sources:
            raise InputError(
                f'--source-folder={args.source_folder}: not together with '
                f'-s {" ".join(args.sources)}; one of them'
            )
        cfg.data.source_folder = args.source_folder
    for name in ('sources', 'targets', 'transforms', 'target_folder'):
        values = getattr(args, name)
        if values is None:
            continue
        # `-s a b train.lr 0.1`: the pairs belong to the settings.
        end = next(
            (i for i, value in enumerate(values) if value in known),
            len(values),
        )
        options = values[end:] + options
        if values[:end]:
            cfg.data[name] = values[:end]
            named.add(f'data.{name}')
    for option in options[::2]:
        if option.startswith('--'):
            raise InputError(f'{option}: has to stand before the settings')
    merge_options(cfg, options)
    _take_source(cfg, named.union(options[::2]))
    return cfg


def _take_source(cfg: CN, named: set[str]) -> None:
    """The default source is none that somebody asked for."""
    if not cfg.data.target_folder or cfg.data.source_folder:
        return
    if 'data.sources' in named:
        return
    if not (cfg.model.load_weights or cfg.model.resume):
        raise InputError(
            f'data.target_folder={cfg.data.target_folder}: needs a source: '
            'labelled data (-s, or --source-folder), or a model that was '
            'trained on some (model.load_weights)'
        )
    cfg.data.sources = []


def _guarded(action) -> int:
    logging.basicConfig(
        level=logging.INFO, format='%(message)s', stream=_Stdout()
    )
    # Libraries' warnings belong to the log; stderr is for what went wrong.
    logging.captureWarnings(True)
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        action()
    except InputError as error:
        print(f'error: {plain_message(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    except _Terminated:
        print('terminated', file=sys.stderr)
        return 143
    finally:
        signal.signal(signal.SIGTERM, previous)
        logging.captureWarnings(False)
    return 0


def _terminate(*_) -> NoReturn:
    raise _Terminated


class _Stdout:
    """stdout as it is at the time of writing, so that logs are kept too."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

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

from torchreid_daam.config import (
    flatten,
    get_default_config,
    merge_file,
    merge_options,
)
from torchreid_daam.delivery.parity import ParityError
from torchreid_daam.delivery.precision import PRECISIONS
from torchreid_daam.delivery.runtime import SUFFIXES
from torchreid_daam.delivery.summary import report
from torchreid_daam.errors import (
    InputError,
    RunFailed,
    one_line,
    plain_message,
    worker_died,
)
from torchreid_daam.export_run import Wish, export_run
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
    _add_export_arguments(
        commands.add_parser('export', help='write a model as ONNX or so')
    )
    _add_report_arguments(
        commands.add_parser('report', help='one page on what a run learned')
    )
    return _guarded(lambda: _chosen(parser.parse_args(arguments)))


def _chosen(args: argparse.Namespace) -> None:
    commands = {'adapt': _adapt, 'export': _export, 'report': _report}
    commands[args.command](args)


def adapt_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/main.py``: the adapt command without its name."""
    parser = _Parser(description='Adapts a re-identification model by DAAM.')
    _add_adapt_arguments(parser)
    return _guarded(lambda: _adapt(parser.parse_args(arguments)))


def export_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/export.py``: the export command without its name."""
    parser = _Parser(description='Writes a model as ONNX or TorchScript.')
    _add_export_arguments(parser)
    return _guarded(lambda: _export(parser.parse_args(arguments)))


def report_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/report.py``: the report command without its name."""
    parser = _Parser(description='Writes one page on what a run learned.')
    _add_report_arguments(parser)
    return _guarded(lambda: _report(parser.parse_args(arguments)))


def _add_report_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('runs', nargs='*', metavar='RUN', help="a run's folder")
    add('--compare', nargs='+', default=(), metavar='RUN')
    add('--output', default='', metavar='FOLDER', help='RUN by default')
    add('--root', default='', help='folder of the data sets')
    add(
        '--before',
        default='',
        metavar='RUN_OR_CHECKPOINT',
        help='the source-only model, for the first t-SNE',
    )
    add('--image', default='', metavar='FILE', help='attention on one image')


def _report(args: argparse.Namespace) -> None:
    # matplotlib comes with the extra [report] alone.
    from torchreid_daam.report_run import ReportWish, report_run

    wish = {name: getattr(args, name) for name in ReportWish._fields}
    print(f'report: {report_run(ReportWish(**wish))}')


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('source', metavar='RUN_OR_CHECKPOINT', help="a run's folder or a file")
    add('--format', choices=sorted(SUFFIXES), default='onnx')
    add('--precision', choices=PRECISIONS, default='fp32')
    add('--input-size', default='', metavar='HxW', help='of incoming images')
    add(
        '--model-size',
        default='',
        metavar='HxW',
        help='of training images, for a checkpoint without its run',
    )
    add('--normalize', action='store_true', help='vectors of length 1')
    add('--name', default='', help="in the file name; the run's by default")
    add('--output', default='', metavar='FOLDER', help='RUN/export by default')
    add('--root', default='', help='folder of the data sets')
    add('--no-map', action='store_true', help='measure no change of mAP')
    add('--force', action='store_true', help='write fp16, int8 at any mAP')


def _export(args: argparse.Namespace) -> None:
    wish = {name: getattr(args, name) for name in Wish._fields}
    print(report(export_run(Wish(**wish))))


def _add_adapt_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--config-file', default='', help='YAML file of settings')
    add('-s', '--sources', nargs='+', help='labelled data sets')
    add('-t', '--targets', nargs='+', help='unlabelled data sets')
    add('--transforms', nargs='+', help='augmentation')
    add('--root', default='', help='folder of the data sets')
    add(
        '--dry-run',
        action='store_true',
        help='show settings, data, steps and expected time; train nothing',
    )
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


def _settings(args: argparse.Namespace) -> CN:
    """Defaults, then the file, then named arguments, then pairs."""
    cfg = get_default_config()
    known = flatten(cfg)
    options = list(args.opts)
    if args.config_file:
        merge_file(cfg, args.config_file)
    if args.root:
        cfg.data.root = args.root
    for name in ('sources', 'targets', 'transforms'):
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
    for option in options[::2]:
        if option.startswith('--'):
            raise InputError(f'{option}: has to stand before the settings')
    merge_options(cfg, options)
    return cfg


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
    except ParityError as error:
        print(f'error: {one_line(error)}; nothing written', file=sys.stderr)
        return 1
    except RuntimeError as error:
        if not (isinstance(error, RunFailed) or worker_died(error)):
            raise
        print(f'error: {plain_message(error)}', file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that is gone
        if error.errno is None:
            raise
        print(f'error: {_place(error)}{error.strerror}', file=sys.stderr)
        return 1
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


def _place(error: OSError) -> str:
    return '' if error.filename is None else f'{error.filename}: '


def _terminate(*_) -> NoReturn:
    raise _Terminated


class _Stdout:
    """stdout as it is at the time of writing, so that logs are kept too."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

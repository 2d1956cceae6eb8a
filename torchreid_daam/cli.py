"""The command line: parsing, exit codes, the log."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from torchreid_daam.commands import COMMANDS
from torchreid_daam.delivery.parity import ParityError
from torchreid_daam.distributed import follower
from torchreid_daam.errors import (
    InputError,
    RunFailed,
    one_line,
    plain_message,
    system_message,
    worker_died,
)
from torchreid_daam.runs.signals import CODES, Ended, ending

logger = logging.getLogger('torchreid_daam')


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m torchreid_daam COMMAND ...``; returns the exit code."""
    from torchreid_daam import __version__

    parser = _Parser(
        prog='torchreid_daam',
        description='Adapts re-identification models to other cameras.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, (text, add_arguments, _) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=text))
    return _guarded(lambda: _run(parser.parse_args(arguments)))


def _run(args: argparse.Namespace) -> None:
    COMMANDS[args.command][2](args)


def command_main(name: str, arguments: Sequence[str] | None = None) -> int:
    """A door of ``projects/daam``: one command without its name."""
    text, add_arguments, action = COMMANDS[name]
    parser = _Parser(description=f'{text[0].upper()}{text[1:]}.')
    add_arguments(parser)
    return _guarded(lambda: action(parser.parse_args(arguments)))


def adapt_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/main.py``: the adapt command."""
    return command_main('adapt', arguments)


def export_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/export.py``: the export command."""
    return command_main('export', arguments)


def report_main(arguments: Sequence[str] | None = None) -> int:
    """``projects/daam/report.py``: the report command."""
    return command_main('report', arguments)


def _guarded(action) -> int:
    logging.basicConfig(
        level=logging.INFO, format='%(message)s', stream=_Stdout()
    )
    # Libraries' warnings belong to the log; stderr is for what went wrong.
    logging.captureWarnings(True)
    threads, threading.excepthook = threading.excepthook, _thread_ended
    try:
        with ending():
            action()
    except InputError as error:
        # Of several processes the first one says it, unless it is not its.
        if follower() and not error.own:
            return 2
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
        print(f'error: {system_message(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt as end:
        number = end.number if isinstance(end, Ended) else signal.SIGINT
        said = 'interrupted' if number == signal.SIGINT else 'terminated'
        print(said, file=sys.stderr)
        return CODES[number]
    finally:
        threading.excepthook = threads
        logging.captureWarnings(False)
    return 0


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """A thread that can't write, such as TensorBoard's, is one line.

    The run's own thread gets the same error.
    """
    if isinstance(args.exc_value, OSError):
        logger.warning('%s', system_message(args.exc_value))
    else:
        threading.__excepthook__(args)


class _Stdout:
    """stdout as it is at the time of writing, so that logs are kept too."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

"""Errors that are told in one line: wrong input, and a run that failed."""

import os

# How torch begins the text of an error from a loading process.
_WORKER = 'Caught InputError in '


class InputError(ValueError):
    """Wrong input; the message is one line for the user.

    It names the key or file, the value found there and what is allowed. The
    command line prints it and exits with 2, without a traceback.

    The line is printable whatever the value was. A loader that raises the
    error of a worker again makes it of the worker's traceback, of which the
    message alone is kept.

    Attributes:
        own: whether other processes of a run need not have met it.
    """

    own = False

    def __init__(self, message: str = '') -> None:
        name = f'{__name__}.InputError: '
        if message.startswith(_WORKER) and name in message:
            message = message.rpartition(name)[2]
        super().__init__(printable(message))


def printable(text: str) -> str:
    """The text without outer white space, other line breaks escaped.

    So are all characters that a terminal or UTF-8 can't take: names of files
    may hold any byte.
    """
    return ''.join(
        c if c.isprintable() else c.encode('unicode_escape').decode()
        for c in text.strip()
    )


class RunFailed(RuntimeError):
    """A run can't go on; the message is one line for the user.

    It says what was found, which checkpoint is there, and what to change.
    The command line prints it and exits with 1, without a traceback.
    """


def plain_message(error: BaseException) -> str:
    """One line of any error: its last one, or its name."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1]) if lines else type(error).__name__


def worker_died(error: BaseException) -> bool:
    """Whether torch says that a loading process has ended by itself.

    A full ``/dev/shm`` or too little memory are the usual reasons.
    """
    return 'DataLoader worker (pid' in str(error)


def system_message(error: OSError) -> str:
    """A system's complaint in one line: the file, if known, and why."""
    place = ''
    if error.filename is not None:  # TensorBoard's are bytes
        place = f'{os.fsdecode(error.filename)}: '
    return printable(f'{place}{error.strerror}')


def one_line(error: BaseException) -> str:
    """An error's text with all white space folded; may be empty."""
    return ' '.join(str(error).split())


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless the value is one of those allowed."""
    if value not in allowed:
        raise ValueError(
            f'{name}={value!r} is not one of {", ".join(allowed)}'
        )

"""Errors that are told in one line: wrong input, and a run that failed."""


class InputError(ValueError):
    """Wrong input; the message is one line for the user.

    It names the key or file, the value found there and what is allowed. The
    command line prints it and exits with 2, without a traceback.
    """


class RunFailed(RuntimeError):
    """A run can't go on; the message is one line for the user.

    It says what was found, which checkpoint is there, and what to change.
    The command line prints it and exits with 1, without a traceback.
    """


def plain_message(error: BaseException) -> str:
    """One line of an error, also of one that a loader's worker raised.

    A worker's error arrives with the worker's traceback in its text; its
    last line holds what was said.
    """
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    name, _, rest = lines[-1].partition(': ')
    if len(lines) > 1 and rest and name.split('.')[-1] == 'InputError':
        return rest
    return lines[-1]


def worker_died(error: BaseException) -> bool:
    """Whether torch says that a loading process has ended by itself.

    A full ``/dev/shm`` or too little memory are the usual reasons.
    """
    return 'DataLoader worker (pid' in str(error)


def one_line(error: BaseException) -> str:
    """An error's text with all white space folded; may be empty."""
    return ' '.join(str(error).split())


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless the value is one of those allowed."""
    if value not in allowed:
        raise ValueError(
            f'{name}={value!r} is not one of {", ".join(allowed)}'
        )

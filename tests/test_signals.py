"""runs/signals.py: what is being done ends first."""

import signal
import threading

import pytest

from torchreid_daam.runs.signals import ENDING, Deliver, postponed


@pytest.fixture(autouse=True)
def handlers():
    """SIGINT as in a terminal, whoever started the tests."""
    before = {n: signal.getsignal(n) for n in ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_waits_and_then_takes_effect():
    done = []
    with pytest.raises(KeyboardInterrupt), postponed() as waiting:
        signal.raise_signal(signal.SIGINT)
        done.append(list(waiting))
    assert done == [[signal.SIGINT]]


def test_sigterm_goes_to_the_handler_that_was_there():
    seen = []
    signal.signal(signal.SIGTERM, lambda n, _: seen.append(n))
    with postponed():
        signal.raise_signal(signal.SIGTERM)
        assert seen == []
    assert seen == [signal.SIGTERM]


def test_the_block_may_end_early():
    with pytest.raises(KeyboardInterrupt), postponed() as waiting:
        signal.raise_signal(signal.SIGINT)
        if waiting:
            raise Deliver
        raise AssertionError('not reached')


def test_a_second_one_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt), postponed():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
        signal.raise_signal(signal.SIGINT)
        done.append(2)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_wins():
    with pytest.raises(KeyError), postponed():
        signal.raise_signal(signal.SIGINT)
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with postponed() as waiting:
        signal.raise_signal(signal.SIGINT)
        assert waiting == []


def test_other_threads_are_left_alone():
    result = []

    def work():
        with postponed() as waiting:
            result.append(waiting)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert result == [[]]

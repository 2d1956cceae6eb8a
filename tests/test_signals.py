"""runs/signals.py: what is being done ends first."""

import signal
import threading

import pytest

from torchreid_daam.runs.signals import (
    ENDING,
    Deliver,
    Ended,
    ending,
    postponed,
)


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


class Swallows:
    """Whatever is raised in a destructor is forgotten."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


@pytest.mark.parametrize('number', ENDING)
def test_a_signal_that_was_lost_takes_effect_later(number, capfd):
    reached = []
    with pytest.raises(Ended) as ended, ending():
        Swallows(number)
        reached.append('after it')
        with postponed():
            reached.append('in the next block')
    assert ended.value.number == number
    assert reached == ['after it']
    assert capfd.readouterr().err == ''


def test_a_lost_one_is_told_at_the_end():
    done = []
    with pytest.raises(Ended), ending():
        Swallows(signal.SIGTERM)
        done.append(1)
    assert done == [1]
    with ending():  # it is forgotten then
        pass


def test_after_a_lost_one_a_second_is_heard_at_once():
    done = []
    with pytest.raises(Ended), ending():
        Swallows(signal.SIGTERM)
        done.append(1)
        signal.raise_signal(signal.SIGTERM)
        done.append(2)
    assert done == [1]


def test_a_second_one_does_not_interrupt_the_tidying_up():
    tidied = []
    with pytest.raises(Ended), ending():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            try:
                raise OSError
            except OSError:
                signal.raise_signal(signal.SIGINT)
            tidied.append(1)
    assert tidied == [1]


def test_handlers_are_as_before_afterwards():
    before = {n: signal.getsignal(n) for n in ENDING}
    with ending():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {n: signal.getsignal(n) for n in ENDING} == before

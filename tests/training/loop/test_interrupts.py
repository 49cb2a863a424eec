"""Interrupts that are held, as they would come from a terminal."""

import signal
import threading

import pytest

from skdual.training.loop.interrupts import held_interrupts


def press(held=None):
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """Python's own, and again afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def is_as_before():
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def hold(*steps):
    """Take the steps, functions of what is held, in one block."""
    with held_interrupts() as held:
        for step in steps:
            step(held)


def test_an_interrupt_waits_for_the_end():
    waiting = []
    with pytest.raises(KeyboardInterrupt):
        hold(lambda held: waiting.append(len(held)), press, lambda held: waiting.append(len(held)))
    assert waiting == [0, 1]
    assert is_as_before()


def test_second_interrupt_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt):
        hold(press, lambda held: done.append(1), press, lambda held: done.append(2))
    assert done == [1]
    assert is_as_before()


def test_interrupt_that_waits_is_raised_where_it_is_let_through_and_one_that_comes_there_at_once():
    done = []

    def let_through(held, step=done.append):
        with held.let_through():
            step("let through")

    def press_let_through(held):
        with pytest.raises(KeyboardInterrupt):
            let_through(held, press)

    with pytest.raises(KeyboardInterrupt):
        hold(let_through, press_let_through, press, lambda held: done.append("held again"), let_through)
    assert done == ["let through", "held again"]
    assert is_as_before()


def test_interrupt_that_the_block_has_answered_is_not_raised():
    hold(press, list.clear)
    assert is_as_before()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_error_of_the_block_comes_before_an_interrupt():
    with pytest.raises(ZeroDivisionError):
        hold(press, lambda held: 1 / 0)
    assert is_as_before()


def test_held_interrupt_is_answered_as_the_process_answers_it():
    answers = []

    def answer(number, frame):
        answers.append(number)

    signal.signal(signal.SIGINT, answer)
    with held_interrupts():
        press()
        assert not answers
    assert answers == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is answer


@pytest.mark.parametrize("other", [signal.SIG_IGN, signal.SIG_DFL])
def test_interrupts_that_would_raise_nothing_are_not_held(other):
    signal.signal(signal.SIGINT, other)
    with held_interrupts() as held:
        assert signal.getsignal(signal.SIGINT) is other
    assert not held


def test_other_threads_hold_no_interrupts():
    seen = []

    def run():
        with held_interrupts() as held:
            seen.append((is_as_before(), held))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(True, [])]

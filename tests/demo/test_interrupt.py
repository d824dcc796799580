"""Ctrl-C put off: once, at the end of the block, and not over an error of the block's own."""

import signal
import threading

import pytest

from treadle.demo.interrupt import undisturbed


def test_it_comes_at_the_end_of_the_block_and_once() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with undisturbed():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            steps.append("all of the block")
        steps.append("what follows it")
    assert steps == ["all of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_without_ctrl_c_is_nothing_special() -> None:
    with undisturbed():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_is_the_news() -> None:
    with pytest.raises(LookupError), undisturbed():
        signal.raise_signal(signal.SIGINT)
        raise LookupError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_is_left_alone() -> None:
    seen = []

    def look() -> None:
        with undisturbed():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]

"""Signals that are put off: raised at safe points, once, and never lost."""

# ruff: noqa: PT012 - the block is what a signal interrupts

from __future__ import annotations

import os
import signal
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from emrdiff_cli.raster.writing import RasterSpec, VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid
from emrdiff_cli.runtime.interruption import at_once, deferred, raised_again, safe_point
from tests.support.rasters import NORTH_UP


class Ended(BaseException):
    """What SIGTERM raises here."""


@pytest.fixture(autouse=True)
def terminating() -> Iterator[None]:
    def end(_number: int, _frame: object) -> None:
        raise Ended

    usual = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, usual)


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Ended)])
def test_a_signal_waits_for_the_safe_point(number: int, raised: type[BaseException]) -> None:
    done = []
    with pytest.raises(raised), deferred():
        safe_point()
        interrupt(number)
        done.append("the work")
        safe_point()
        done.append("the next")
    assert done == ["the work"]


def test_a_signal_waits_for_the_end_of_the_outermost_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with deferred():
            with deferred():
                interrupt()
            done.append("the outer")
        done.append("what follows")
    assert done == ["the outer"]
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_a_second_signal_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        interrupt()
        done.append("the first")
        interrupt()
        done.append("the second")
    assert done == ["the first"]


def test_on_the_way_out_signals_are_ignored() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        try:
            interrupt()
            safe_point()
        finally:
            interrupt()
            interrupt(signal.SIGTERM)
            safe_point()
            done.append("the clean-up")
    assert done == ["the clean-up"]


def test_long_work_is_interrupted_at_once() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        with at_once():
            interrupt()
            done.append("the work")
        done.append("what follows")
    assert done == []


def test_long_work_does_not_begin_after_a_signal() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        interrupt()
        with at_once():
            done.append("the work")
    assert done == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_that_is_swallowed_comes_again() -> None:
    class Careless:
        def __del__(self) -> None:
            interrupt()

    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        with at_once():
            held = [Careless()]
            held.clear()
            done.append("the work")
        done.append("what follows")
    assert done == ["the work"]


def test_an_error_of_long_work_is_its_own() -> None:
    with pytest.raises(ValueError, match="its own"), deferred(), at_once():
        raise ValueError("its own")


def test_a_signal_that_is_ignored_stays_so() -> None:
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred():
            interrupt()
            safe_point()
    finally:
        signal.signal(signal.SIGINT, usual)


def test_other_threads_are_not_concerned() -> None:
    done = []

    def work() -> None:
        with deferred(), at_once():
            safe_point()
        done.append("the work")

    with pytest.raises(KeyboardInterrupt), deferred():
        interrupt()
        thread = Thread(target=work)
        thread.start()
        thread.join()
    assert done == ["the work"]


def test_a_raster_under_way_is_left_at_its_next_rows(tmp_path: Path) -> None:
    spec = RasterSpec(grid=Grid(4, 5, NORTH_UP, None), bands=Bands(2), dtype="float32")
    appended = 0
    with pytest.raises(KeyboardInterrupt), VerifiedWriter(tmp_path / "out.tif", spec) as writer:
        for _ in range(4):
            writer.append(np.ones((2, 1, 5), np.float32))
            appended += 1
            interrupt()
    assert appended == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Ended)])
def test_a_signal_in_a_callback_that_drops_exceptions_is_raised_all_the_same(
    number: int, raised: type[BaseException]
) -> None:
    held = Kept()
    gone = weakref.ref(held, lambda _: interrupt(number))
    with raised_again({KeyboardInterrupt: signal.SIGINT, Ended: signal.SIGTERM}), pytest.raises(raised):
        del held
        assert gone() is None
        time.sleep(10)


class Kept:
    """What a weak reference can be of."""

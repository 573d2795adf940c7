"""Small computations side by side: in order, each on one BLAS thread, and errors come out."""

from __future__ import annotations

from threading import Barrier, Event, current_thread
from time import sleep

import numpy as np
import pytest
from scipy import linalg
from threadpoolctl import threadpool_info, threadpool_limits

from emrdiff_cli.core.side_by_side import side_by_side, working_side_by_side


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_from_so_many_threads_as_blas_may_use(threads: int) -> None:
    together = Event()
    names: list[str] = []

    def work(number: int) -> tuple[int, set[int]]:
        names.append(current_thread().name)
        if threads > 1 and number == 0:
            assert together.wait(30), "no other thread came"
        if number == 1:
            together.set()
        return number, blas_threads()

    linalg.cho_factor(np.eye(2))  # whereby both libraries' BLAS is there

    with threadpool_limits(threads, user_api="blas"):
        found = side_by_side(work, range(20))
        assert blas_threads() == {threads}
    assert [number for number, _ in found] == list(range(20))
    assert all(seen == {1} for _, seen in found)
    assert len(set(names)) <= threads


def test_threads_that_are_allowed_count_before_blas_whose_one_is_left_to_it() -> None:
    linalg.cho_factor(np.eye(2))
    together = Barrier(3)

    def work(number: int) -> str:
        if number < 3:
            together.wait(30)  # three at once, or an error
        return current_thread().name

    with threadpool_limits(2, user_api="blas"):
        with working_side_by_side(5), working_side_by_side(3):
            assert blas_threads() == {1}
            assert len(set(side_by_side(work, range(9)))) <= 3
        assert blas_threads() == {2}


def test_an_error_is_raised_and_what_was_not_begun_is_left() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise ValueError("the third")
        sleep(0.001)

    with threadpool_limits(1, user_api="blas"), pytest.raises(ValueError, match="the third"):
        side_by_side(work, range(10_000))
    assert len(begun) < 10_000

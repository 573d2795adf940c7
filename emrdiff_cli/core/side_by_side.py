"""Many small computations at once, each on one processor.

BLAS spreads a product or a factorisation over its threads. Of matrices of a few hundred rows that costs much more
than it saves, the result depends on the number of threads, and those with nothing to do keep their processors busy
waiting, from others too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


_allowed: list[int] = []  # threads, by whoever holds the process to them; the last counts


@contextmanager
def working_side_by_side(threads: int) -> Iterator[None]:
    """Have the whole process work side by side in so many threads, and in BLAS on one."""
    _allowed.append(threads)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        _allowed.pop()


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`work(item)` of each, in order, in as many threads as are allowed; else as BLAS would use.

    An exception, an interruption too, is raised once those under way are done; the others are left.
    """
    threads = allowed_threads()  # before BLAS is held to one
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        try:
            return list(pool.map(work, items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def allowed_threads() -> int:
    """As many threads as are allowed to work side by side; else as BLAS would use."""
    return _allowed[-1] if _allowed else _blas_threads()


def _blas_threads() -> int:
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return max((library["num_threads"] for library in blas), default=1)

"""Many small computations at once, each on one processor.

BLAS spreads a product or a factorisation over its threads. Of matrices of a few hundred rows that costs much more
than it saves, and the result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`work(item)` of each, in order, in as many threads as BLAS would use (OMP_NUM_THREADS counts, as for it).

    An exception, an interruption too, is raised once those under way are done; the others are left.
    """
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    threads = max((library["num_threads"] for library in blas), default=1)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        try:
            return list(pool.map(work, items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

"""Work that overlaps: what is read ahead and what is written behind, in a thread each.

Results come in the order of the work, so nothing depends on who was faster. An exception in a thread is raised
where its result is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_DEPTH = 2  # results that wait, at most


@contextmanager
def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], depth: int = _DEPTH
) -> Iterator[Iterator[Result]]:
    """Yield an iterator over `work(item)`, of which up to `depth` are worked out ahead, one after the other.

    On the way out what was not begun is left, and what was is waited for.
    """
    left = iter(items)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:

        def results() -> Iterator[Result]:
            waiting.extend(pool.submit(work, item) for item in islice(left, depth))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(left, 1))
                yield result

        try:
            yield results()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class WriteBehind(Generic[Item]):
    """Hands items to `work` in a thread, in order, as a context manager; at most `depth` wait.

    All are done after a clean exit. After an exception the one under way is waited for, the others are left.
    """

    def __init__(self, work: Callable[[Item], None], depth: int = _DEPTH) -> None:
        self._work, self._depth = work, depth
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def put(self, item: Item) -> None:
        """Add an item, once there is room for it. Raises what the work on an earlier one raised."""
        self._finish(self._depth - 1)
        self._waiting.append(self._pool.submit(self._run, item))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish(0)
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, item: Item) -> None:
        """Work on an item, unless the work on an earlier one failed."""
        if self._failed:
            return
        self._failed = True
        self._work(item)
        self._failed = False

    def _finish(self, allowed: int) -> None:
        while len(self._waiting) > allowed or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()

"""Work in threads: order, bounds, and failures that end it."""

from __future__ import annotations

import threading
import time

import pytest

from emrdiff_cli.runtime.pipeline import WriteBehind, ahead


def test_results_come_in_order_from_another_thread() -> None:
    threads = set()

    def work(item: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.001 * (item % 3))
        return item * item

    with ahead(work, range(20)) as results:
        assert list(results) == [item * item for item in range(20)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_no_more_is_worked_out_than_was_asked_for() -> None:
    begun: list[int] = []
    with ahead(begun.append, range(100), depth=3) as results:
        for _ in range(5):
            next(results)
    assert len(begun) <= 8
    assert begun == list(range(len(begun)))


def test_a_failure_ahead_is_raised_where_its_result_is_taken() -> None:
    with ahead(lambda item: 1 // item, [1, 0, 1]) as results:
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_all_is_done_behind_in_order() -> None:
    done: list[int] = []
    with WriteBehind(done.append) as behind:
        for item in range(50):
            behind.put(item)
    assert done == list(range(50))


def test_no_more_waits_behind_than_is_allowed() -> None:
    gate, done = threading.Event(), []

    def work(item: int) -> None:
        gate.wait(10)
        done.append(item)

    with WriteBehind(work, depth=2) as behind:
        behind.put(0)
        behind.put(1)
        opener = threading.Timer(0.05, gate.set)
        opener.start()
        behind.put(2)
        assert done[:1] == [0]
        opener.join()
    assert done == [0, 1, 2]


@pytest.mark.parametrize("failing", [0, 3, 9])
def test_a_failure_behind_ends_it_and_nothing_more_is_done(failing: int) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == failing:
            raise OSError(item)
        done.append(item)

    def put_all() -> None:
        with WriteBehind(work) as behind:
            for item in range(10):
                behind.put(item)

    with pytest.raises(OSError, match=str(failing)):
        put_all()
    assert done == list(range(failing))


def test_an_exception_leaves_what_was_not_begun() -> None:
    gate, done, before = threading.Event(), [], threading.active_count()

    def work(item: int) -> None:
        gate.wait(10)
        done.append(item)

    def stop() -> None:
        with WriteBehind(work, depth=5) as behind:
            for item in range(5):
                behind.put(item)
            gate.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert done == list(range(len(done)))
    assert threading.active_count() == before

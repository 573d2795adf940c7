"""How many threads: what is said, else what the process may have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emrdiff_cli.runtime.threads import group_quota, thread_count


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_groups_quota_is_read(tmp_path: Path, files: dict[str, str], quota: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert group_quota(tmp_path) == quota


def test_what_is_said_counts_before_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3, 5})
    monkeypatch.setattr("emrdiff_cli.runtime.threads.group_quota", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert (thread_count(4), thread_count()) == (4, 7)
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    assert thread_count() == 2
    monkeypatch.setattr("emrdiff_cli.runtime.threads.group_quota", lambda: None)
    assert thread_count() == 3

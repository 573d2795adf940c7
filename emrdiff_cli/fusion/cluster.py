"""Tile rows on dask.distributed: workers sample them, this process plans, keeps and writes.

A row that a lost worker had is computed again by another: what it depends on stays with the scheduler.
"""

from __future__ import annotations

import logging
import re
import signal
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import EmrdiffError, InputError, UsageError
from emrdiff_cli.fusion.memory import free_memory
from emrdiff_cli.fusion.prepared_scene import PreparedScene
from emrdiff_cli.fusion.tile_rows import TileRow, Tiling, Watch
from emrdiff_cli.fusion.worker import MakeSampler, sample_row, task_of
from emrdiff_cli.runtime.interruption import at_once, deferred
from emrdiff_cli.runtime.threads import usable_cores
from emrdiff_cli.runtime.torch_library import require_torch
from emrdiff_cli.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

Field = NDArray[np.float32]
Held = TypeVar("Held")

_CONNECT = 30  # seconds for a scheduler to answer
_ARRIVE = 30  # seconds for the first worker to be there
_LOOK = 5  # seconds between looks at whether any worker is left
_FETCH = 300  # seconds for a row that is done to arrive, before the next look
_PATIENCE = 300  # seconds that all may be gone
_AHEAD = 2  # tile rows under way for each thread of a worker: one is sampled, one waits
_WORKER_BYTES = 2e9  # of a worker on this machine, more or less
_PRELOADED = ["emrdiff_cli.fusion.worker"]
# A scene is sent whole, once; dask would rather have it in parts.
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1TB"}
_LOCAL_SETTINGS = {
    # A process of this machine that is silent for long is not lost: it has much to do.
    "distributed.comm.timeouts.connect": "5 minutes",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@dataclass(frozen=True)
class ClusterOptions:
    """Place of the sampling: `workers` processes of this machine (`local`), tcp://host:port, or this process.

    Raises UsageError: no such address, dask.distributed not installed.
    """

    scheduler: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.scheduler != "local":
            raise UsageError("--workers: are for --scheduler local; others are started with `dask worker`")
        if self.scheduler is None:
            return
        if self.scheduler != "local" and not re.fullmatch(r"tcp://[^/\s]+:\d{1,5}", self.scheduler):
            raise UsageError(f"--scheduler {self.scheduler}: must be local or tcp://HOST:PORT")
        if find_spec("distributed") is None:
            raise UsageError(
                "--scheduler needs dask.distributed: install it with `pip install emrdiff[cluster]`"
            )


class Workers:
    """The workers of a connected scheduler."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def sample_rows(
        self,
        make_sampler: MakeSampler,
        scene: PreparedScene,
        tiling: Tiling,
        rows: Sequence[TileRow],
        batch_size: int,
        watch: Watch,
    ) -> Generator[Field]:
        """As `tile_rows.sample_rows`, in the rows' order, with few more under way than there are threads.

        Raises EmrdiffError where the scheduler or, for long, all workers are lost, or a row kills its workers;
        else what a worker raised.
        """
        task = task_of(scene, tiling, batch_size, make_sampler)
        left, waiting = iter(rows), deque[_Pending]()
        held = self._submit(_hold, task)
        try:
            while True:
                for row in islice(left, self._room(len(waiting))):
                    waiting.append(_Pending(row, self._submit(_sample, held, row)))
                if not waiting:
                    return
                values, seconds = self._result(waiting[0])
                watch(len(waiting.popleft().row.tiles), seconds)
                yield values
        finally:
            self._client.cancel([held, *(pending.future for pending in waiting)])

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        from distributed.client import ClosedClientError

        try:
            return self._client.submit(work, *arguments, pure=False)
        except ClosedClientError as error:
            raise self._lost() from error

    def _room(self, under_way: int) -> int:
        return max(0, _AHEAD * max(1, sum(self._threads().values())) - under_way)

    def _threads(self) -> dict[str, int]:
        try:
            return dict(self._client.nthreads())
        except OSError as error:
            raise self._lost() from error

    def _result(self, pending: _Pending) -> tuple[Field, float]:
        from distributed import KilledWorker

        seen = monotonic()
        while True:
            try:
                # A look would begin the transfer of a row anew.
                with at_once():
                    values, seconds = pending.future.result(_FETCH if pending.future.done() else _LOOK)
                return values, seconds
            except TimeoutError as error:
                seen = monotonic() if self._threads() else seen
                if monotonic() - seen > _PATIENCE:
                    raise EmrdiffError(
                        f"no worker has been left for {_PATIENCE} s: start workers, and repeat the command with "
                        "--resume"
                    ) from error
            except (CancelledError, OSError) as error:
                raise self._lost() from error
            except KilledWorker as error:
                raise EmrdiffError(
                    f"tile row {pending.row.number}: each worker that took it died: they may have too little "
                    "memory: give a smaller --batch-size or --tile"
                ) from error
            except ImportError as error:
                raise EmrdiffError(f"a worker lacks something: {error}: install emrdiff there") from error

    def _lost(self) -> EmrdiffError:
        return EmrdiffError(
            "the connection to the scheduler was lost: when it is back, repeat the command with --resume"
        )


class _Pending(NamedTuple):
    """A tile row under way."""

    row: TileRow
    future: Future[Any]


@contextmanager
def workers_of(options: ClusterOptions, device: str) -> Iterator[Workers | None]:
    """Connect to the workers, or start them, and stop those again; None without a scheduler.

    Raises EmrdiffError where a scheduler does not answer, or has no workers, or some with another emrdiff.
    """
    if options.scheduler is None:
        yield None
        return
    import dask
    from distributed.utils import silence_logging_cmgr

    # What matters of what dask logs is raised; the rest is about workers that come back.
    with dask.config.set(_SETTINGS), silence_logging_cmgr(logging.CRITICAL):
        if options.scheduler == "local":
            with _started(options.workers or _worker_count(device)) as client:
                yield Workers(client)
        else:
            with _connected(options.scheduler) as client:
                yield Workers(client)


@contextmanager
def _started(count: int) -> Iterator[Client]:
    import dask

    with TemporaryDirectory(prefix="emrdiff-", ignore_cleanup_errors=True) as scratch, ExitStack() as started:
        started.enter_context(dask.config.set({"temporary-directory": scratch, **_LOCAL_SETTINGS}))
        running = ExitStack()
        try:
            with _undisturbed():
                client = _start(count, running)
            yield client
        finally:
            with _undisturbed():
                running.close()


def _start(count: int, running: ExitStack) -> Client:
    from distributed import Client, LocalCluster
    from distributed.gc import disable_gc_diagnosis

    try:
        # A warning about time that the start takes is no help.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,  # as for any other process, the system's
                # An HTTP server there is in any case: at a port that is free, not at 8787 with a warning.
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
                preload=_PRELOADED,
            )
            running.enter_context(cluster)
            client: Client = running.enter_context(Client(cluster, set_as_default=False))
    except (OSError, RuntimeError) as error:
        raise EmrdiffError(
            f"the workers did not start ({_first_cause(error)}): give fewer --workers, or try again when the "
            "machine has less to do"
        ) from error
    # Its hook in the garbage collector would swallow the exception of a signal that comes in it.
    disable_gc_diagnosis(force=True)
    return client


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off SIGINT and SIGTERM: workers that are half started or half stopped would be left behind.

    What is started meanwhile does not hear a terminal's Ctrl-C: it is the business of this process.
    """
    # It would unblock SIGINT when it is started.
    resource_tracker.ensure_running()
    with deferred():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=_CONNECT, set_as_default=False)
    except OSError as error:
        raise EmrdiffError(
            f"no scheduler answers at {scheduler} within {_CONNECT} s: start one with `dask scheduler`, or "
            "correct the address"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_ARRIVE)
        except TimeoutError as error:
            raise EmrdiffError(
                f"no worker came to {scheduler} within {_ARRIVE} s: start some with `dask worker {scheduler}`"
            ) from error
        _refuse_other_versions(client)
        yield client


def _refuse_other_versions(client: Client) -> None:
    """Raise EmrdiffError where a worker has none or another emrdiff: it would not understand what it is sent."""
    for worker, found in client.run(version, "emrdiff", on_error="return").items():
        # Anything else is about a worker that was lost meanwhile.
        if isinstance(found, str | PackageNotFoundError) and found != __version__:
            has = f"emrdiff {found}" if isinstance(found, str) else "no emrdiff"
            raise EmrdiffError(f"worker {worker} has {has}, not {__version__}: install the same there")


def _worker_count(device: str) -> int:
    """One for each GPU that the device's name stands for; else one a core, as far as the memory goes."""
    require_torch()
    from emrdiff_cli.fusion.sampler import gpu_count

    cores, free = usable_cores(), free_memory()
    fitting = cores if free is None else int(free // _WORKER_BYTES)
    return gpu_count(device) or max(1, min(cores, fitting))


def _hold(task: Held) -> Held:
    """Return the data sent as the result of a task: a result that is lost is made again, sent data is not."""
    return task


def _sample(task: Any, row: TileRow) -> tuple[Field, float]:
    """`sample_row` on a worker, whose address an error then tells."""
    from distributed import get_worker

    worker = get_worker()
    # The workers of a LocalCluster are numbered; others see no more GPUs than they were given.
    number = worker.name if isinstance(worker.name, int) else 0
    try:
        return sample_row(task, row, number)
    except EmrdiffError as error:
        raise type(error)(f"{error} (worker {worker.address})") from error
    except OSError as error:
        raise InputError(f"{error} (worker {worker.address})") from error

"""The processes that `torchrun` starts for one training, as a group that does the work of one process."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from emrdiff_cli.errors import EmrdiffError, UsageError
from emrdiff_cli.fusion.sampler import choose_device
from emrdiff_cli.runtime.torchrun import processes

# The others wait while the first validates; where a process dies, torchrun ends all of them at once.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class ProcessGroup:
    """This process as number `rank` of `size`, and number `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that validates, reports and writes."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a batch; raises UsageError where the parts would not be equal."""
        part, rest = divmod(batch, self.size)
        if rest:
            raise UsageError(
                f"batch = {batch}: cannot be shared equally by {self.size} processes: give --batch "
                f"{self.size * (part + 1)}, or start as many processes as divide {batch}"
            )
        return slice(self.rank * part, (self.rank + 1) * part)

    def device(self, name: str) -> torch.device:
        """The device of that name; on a GPU each process of a machine takes its own.

        Raises UsageError where the device is not there, or is one for several processes.
        """
        device = choose_device(name)
        if self.size == 1 or device.type == "cpu":
            return device
        if name not in ("auto", "cuda"):
            raise UsageError(
                f"device {name!r} is one for {self.size} processes: give --device cuda, each takes its own"
            )
        return choose_device(f"cuda:{self.local_rank}")

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Put the sum over the group in the place of each gradient."""
        if self.size == 1:
            return
        # DistributedDataParallel wraps one forward call; a loss here makes several, through parts of the
        # network, and its sum, not its mean, is what one process computes.
        gradients = [p.grad for p in parameters if p.grad is not None]
        sums = self.total(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        parts = torch.split(sums, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def total(self, values: Tensor) -> Tensor:
        """The sum of these values over the group, the same bits in each process."""
        if self.size == 1:
            return values
        result = values.clone()
        try:
            distributed.all_reduce(result)
        except RuntimeError as error:
            raise EmrdiffError(
                "another process of this training has ended: see its message, then repeat with --resume"
            ) from error
        return result

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Do alike in each process what can fail, and go on when all have done it.

        A known error is raised by the first process that met it, and ends the others without a word.
        """
        met: EmrdiffError | None = None
        try:
            yield
        except EmrdiffError as error:
            if self.size == 1:
                raise
            met = error
        if self.size > 1:
            codes = self._gathered(0 if met is None else met.exit_code)
            speaker = next((rank for rank, code in enumerate(codes) if code), None)
            if met is not None and speaker == self.rank:
                raise met
            if speaker is not None:
                self._wait_for_the_end()
                raise SystemExit(codes[speaker])

    def meet(self) -> None:
        """Return when all are here; raises EmrdiffError where one has ended."""
        self._gathered(0)

    def _gathered(self, number: int) -> list[int]:
        """This number of each process, by rank."""
        numbers = torch.zeros(self.size, dtype=torch.int64)
        numbers[self.rank] = number
        return [int(value) for value in self.total(numbers)]

    def _wait_for_the_end(self) -> None:
        """Return when another process has ended: torchrun ends all with the first, spoken or not."""
        with suppress(EmrdiffError):
            self.meet()


ALONE = ProcessGroup()


@contextmanager
def assembled_group() -> Iterator[ProcessGroup]:
    """The group that torchrun started, connected; without torchrun, this process alone.

    None leaves it before all have done their work: one that ends badly would have torchrun end the others.
    """
    size = processes()
    if size == 1:
        yield ALONE
        return
    # Its functions take the world's group for a default when they are imported, at the latest by an optimizer's
    # first step: were there a group by then, they would keep its threads into the interpreter's end.
    importlib.import_module("torch.distributed.nn.functional")
    group = ProcessGroup(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    yield group
    with suppress(EmrdiffError):  # its message was said, and torchrun ends all
        group.meet()
        # Not after an error: this waits for the others, which may never answer.
        distributed.destroy_process_group()

"""Memory of a device, and what torch says where there is too little of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_NO_MEMORY = (
    *("out of memory", "not enough memory", "can't allocate memory"),
    # cuBLAS and cuDNN without room for a handle, or for what any of their ways to convolve needs
    *("ALLOC_FAILED", "unable to find an engine"),
)


def within_memory(work: Callable[[], Result], device: torch.device, what: str) -> Result:
    """Return `work()` on a device. Raises MemoryError where it has too little for `what` is worked on."""
    try:
        return work()
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    # Only here, when the error and what it held are gone, is there something to give back.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise MemoryError(f"{what} are too many for {device}")


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed to allocate; on a CPU, and in a GPU's libraries, the message alone tells."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)

"""Type that the network runs in: as asked, or the faster one on the device by measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]
AskedPrecision = Literal["auto", "fp32", "bf16"]

_ROUNDS = 5
_SIDE = 32  # pixels of the map that is convolved,
_WIDEST = 256  # channels of it: a file may claim any width
_DEVICE_SIDE = (
    256  # of the maps that a GPU convolves: with less it does nothing but start, as fast in either type
)
_LEAST_GAIN = 1.3  # below, bfloat16 is not worth its rounding


@lru_cache
def measured_precision(device: torch.device, width: int) -> Precision:
    """The precision in which a convolution of the network's `width` is worth its rounding on the device.

    The two are timed in turn and by their best, so that other work on the machine tells against neither; once in a
    process, so that the scenes of an archive are alike.
    """
    import torch

    try:
        layers = [_layer(device, width, dtype) for dtype in (torch.float32, torch.bfloat16)]
        # As the sampler runs it: float32 is not rounded to 10 bits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            times = [[_seconds(layer, device) for layer in layers] for _ in range(_ROUNDS)]
    except RuntimeError:  # bfloat16 is unknown to the device, or its memory is full
        return "fp32"
    exact, rounded = (min(column) for column in zip(*times, strict=True))
    return "bf16" if exact > _LEAST_GAIN * rounded else "fp32"


def _layer(device: torch.device, width: int, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    import torch

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)

    width = min(width, _WIDEST)
    count, side = (1, _SIDE) if device.type == "cpu" else (_WIDEST // width, _DEVICE_SIDE)
    seen, weight = zeros(count, width, side, side), zeros(2 * width, width, 3, 3)
    return lambda: torch.nn.functional.conv2d(seen, weight, padding=1)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        wait()
        started = time.perf_counter()
        work()
        wait()
        return time.perf_counter() - started

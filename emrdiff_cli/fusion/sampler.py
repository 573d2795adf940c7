"""The sampler that fusion is handed: a trained model on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import cached_property
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from emrdiff_cli.core.device_memory import within_memory
from emrdiff_cli.core.diffusion.conditioning import TileInputs
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff, channels_last
from emrdiff_cli.core.diffusion.noise import edge_noise
from emrdiff_cli.core.tile_network import TileNetwork
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.precision import Precision
from emrdiff_cli.runtime.threads import thread_count

Field = NDArray[np.float32]

_DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class ModelSampler:
    """Runs a model's chain on batches of tiles, `steps` (None: the model's) from draw `seed`.

    On a CPU tiles run side by side, in `threads` threads (None: as `thread_count`) in all: none waits for another,
    whatever else the machine does. Of fewer tiles each has several. The number changes nothing in the estimates.
    """

    def __init__(
        self,
        model: EMRDiff,
        device: torch.device,
        seed: int = 0,
        steps: int | None = None,
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> None:
        self.config = model.config
        self.calibration = model.calibration()
        self._model = channels_last(model.to(device))
        self._network = TileNetwork(model.network, _DTYPES[precision])
        self._device, self._seed, self._steps = device, seed, steps
        self._precision, self._threads = precision, thread_count(threads)

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """The weights' hash, the draw's seed and the number of steps; the device is no part of it."""
        return {
            "model": _weights_hash(self._model),
            "--seed": str(self._seed),
            "--steps": str(self._steps or self.config.steps),
            "--precision": self._precision,
        }

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Field]:
        """Return each tile's estimate of X'_0 (C, H, W), relative to the chain's end.

        Sides are multiples of the configuration's stride. Raises MemoryError where the device has too little.
        """
        return within_memory(lambda: self._sample(tiles, corners), self._device, f"{len(tiles)} tiles")

    def _sample(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Field]:
        if self._device.type == "cuda":
            # What the user calls float32 is not to be rounded to 10 bits on the way.
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                return list(self._run(tiles, corners, Event()))
        at_once = min(self._threads, len(tiles))
        ended = Event()
        with ThreadPoolExecutor(
            at_once, "tile", torch.set_num_threads, (max(1, self._threads // at_once),)
        ) as pool:
            try:
                done = pool.map(lambda tile, corner: self._run([tile], [corner], ended), tiles, corners)
                return [field for fields in done for field in fields]
            finally:
                ended.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _run(
        self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]], ended: Event
    ) -> Sequence[Field]:
        """The estimates of tiles together; given up between two steps once it `ended`."""
        a_0, guidance, edges = (
            self._stack([getattr(tile, name) for tile in tiles]) for name in ("a_0", "guidance", "edges")
        )
        noise = edge_noise(self._seed, a_0.shape, corners, edges)

        def draw(step: int) -> torch.Tensor:
            if ended.is_set():
                raise CancelledError
            return noise(step)

        with torch.inference_mode():
            estimate = self._model.sample(a_0, guidance, draw, self._steps, network=self._network)
        return list(estimate.float().cpu().contiguous().numpy())

    def _stack(self, images: Sequence[Field]) -> torch.Tensor:
        stacked = torch.from_numpy(np.stack(images)).to(self._device)
        return stacked.contiguous(memory_format=torch.channels_last)


def _weights_hash(model: EMRDiff) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def gpu_count(name: str) -> int:
    """Number of GPUs that a device's name stands for: all for `auto` and `cuda`, one for `cuda:N`, else none."""
    if name in ("auto", "cuda"):
        return torch.cuda.device_count()
    return int(name.startswith("cuda:"))


def choose_device(name: str, number: int = 0) -> torch.device:
    """`auto` is a CUDA device where there is one; raises UsageError for a device that is not there.

    Processes with a `number` share out the GPUs that a name without one stands for.
    """
    if name in ("auto", "cuda") and gpu_count(name) > 1:
        return torch.device("cuda", number % gpu_count(name))
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not on this machine: use --device cpu")
    return device

"""Choice of who evaluates a scene's fit at HR pixels: the processor, or for kriging a device."""

from __future__ import annotations

from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.errors import TorchError
from emrdiff_cli.methods import AUTO, FAVOURITE
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.runtime.torch_library import has_cuda_driver, require_torch

# HR pixels from which a device gains kriging the seconds that torch and the device take to start
_WORTH = 1 << 20


def choose_evaluator(device: str, method: str, pair: PairReader, *, with_model: bool) -> Evaluator:
    """The device of that name for kriging, or where the pair may name it; `auto` is CUDA where that is there.

    To look for one torch is loaded: `auto` does not where there is no driver of CUDA, nor for a small scene without
    a model, which has loaded it anyway. Other methods are the processor's. Raises UsageError for a device that is
    not there, TorchError where torch is not.
    """
    if method not in (AUTO, FAVOURITE) or device == "cpu":
        return ON_PROCESSOR
    scene = pair.alignment.hr_window
    if device == "auto":
        is_worth = with_model or scene.height * scene.width >= _WORTH
        if not (is_worth and has_cuda_driver()):
            return ON_PROCESSOR
    try:
        require_torch()
    except TorchError:
        if device == "auto":
            return ON_PROCESSOR
        raise
    from emrdiff_cli.core.methods.device_evaluator import OnDevice
    from emrdiff_cli.fusion.sampler import choose_device

    chosen = choose_device(device)
    return ON_PROCESSOR if chosen.type == "cpu" else OnDevice(chosen)

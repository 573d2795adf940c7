"""PyTorch, which models alone need: whether it is there, and one line where it cannot be used."""

from __future__ import annotations

import ctypes
import sys
from importlib import import_module
from importlib.util import find_spec

from emrdiff_cli.errors import TorchError
from emrdiff_cli.runtime.collector import loading

_WAY_OUT = (
    "models, training and --device cuda need it: pip install torch --index-url "
    "https://download.pytorch.org/whl/cpu; --method kriging does without"
)


def has_torch() -> bool:
    """Whether PyTorch is installed, found without loading it, which takes seconds; it may be broken."""
    found = find_spec("torch")
    # Folders that an uninstallation left are a package of nothing.
    return found is not None and found.origin is not None


def has_cuda_driver() -> bool:
    """Whether a driver of CUDA is installed, without which torch finds no device; found without loading torch."""
    library = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}.get(sys.platform)
    if library is None:
        return False
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def require_torch() -> None:
    """Load PyTorch. Raises TorchError where it is missing or broken."""
    if not has_torch():
        raise TorchError(f"torch is not installed: {_WAY_OUT}")
    try:
        with loading():
            import_module("torch")
    # A library of its own that is missing, or built for another NumPy or Python; RuntimeError when tried again.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        said = str(error) or type(error).__name__
        raise TorchError(f"torch is installed but cannot be loaded ({said}): {_WAY_OUT}") from error

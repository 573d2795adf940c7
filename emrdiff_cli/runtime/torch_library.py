"""PyTorch, which models alone need: whether it is there, and one line where it cannot be used."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from emrdiff_cli.errors import TorchError
from emrdiff_cli.runtime.collector import loading

_WAY_OUT = (
    "models and training need it: pip install torch --index-url https://download.pytorch.org/whl/cpu; "
    "--method kriging does without"
)


def has_torch() -> bool:
    """Whether PyTorch is installed, found without loading it, which takes seconds; it may be broken."""
    found = find_spec("torch")
    # Folders that an uninstallation left are a package of nothing.
    return found is not None and found.origin is not None


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

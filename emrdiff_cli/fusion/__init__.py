"""LR-HSI + HR-MSI + method or model -> fused raster: one scene, an archive, a cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emrdiff_cli.fusion.fusing import fuse

__all__ = ["fuse"]


def __getattr__(name: str) -> object:
    # Imported when asked for: a command that needs one module of the wing starts without the others.
    if name in __all__:
        return getattr(import_module("emrdiff_cli.fusion.fusing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""LR-HSI + HR-MSI + method or model -> fused raster: one scene, an archive, a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import emrdiff_cli

if TYPE_CHECKING:
    from emrdiff_cli.fusion.fusing import fuse

__all__ = ["fuse"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(emrdiff_cli, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

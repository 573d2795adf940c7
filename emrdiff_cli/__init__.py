"""Hyperspectral image fusion: LR-HSI + HR-MSI -> HR-HSI, from raster files to a georeferenced result."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from emrdiff_cli.version import __version__

__all__ = ["FusionOptions", "__version__", "check", "evaluate", "fuse", "simulate_raster"]

if TYPE_CHECKING:
    from emrdiff_cli.evaluation.full_reference import evaluate
    from emrdiff_cli.fusion.fusing import fuse
    from emrdiff_cli.fusion.options import FusionOptions
    from emrdiff_cli.pair.check import check
    from emrdiff_cli.simulation import simulate_raster

# Imported when asked for: the commands start without what they do not need.
_PLACES = {
    "FusionOptions": "emrdiff_cli.fusion.options:FusionOptions",
    "check": "emrdiff_cli.pair.check:check",
    "evaluate": "emrdiff_cli.evaluation.full_reference:evaluate",
    "fuse": "emrdiff_cli.fusion.fusing:fuse",
    "simulate_raster": "emrdiff_cli.simulation:simulate_raster",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(_PLACES[name])

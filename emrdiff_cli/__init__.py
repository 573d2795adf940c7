"""Hyperspectral image fusion: LR-HSI + HR-MSI -> HR-HSI.

In Python, on paths, NumPy arrays and xarray DataArrays alike: `fuse`, `check`, `evaluate`, `wald`, `simulate`;
`krige` and `degrade`; the scores `psnr`, `sam`, `ergas`, `ssim`, `uiqi`, `q2n`, `cc` and `rmse`. Errors are
EmrdiffError's children. `emrdiff guide python` has an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emrdiff_cli.version import __version__

__all__ = [
    "EmrdiffError",
    "Fusion",
    "Simulation",
    "__version__",
    "cc",
    "check",
    "degrade",
    "ergas",
    "evaluate",
    "fuse",
    "krige",
    "psnr",
    "q2n",
    "rmse",
    "sam",
    "simulate",
    "ssim",
    "uiqi",
    "wald",
]

if TYPE_CHECKING:
    from emrdiff_cli.api.checking import check
    from emrdiff_cli.api.fusion import Fusion, fuse, krige
    from emrdiff_cli.api.scores import cc, ergas, evaluate, psnr, q2n, rmse, sam, ssim, uiqi, wald
    from emrdiff_cli.api.simulation import Simulation, degrade, simulate
    from emrdiff_cli.errors import EmrdiffError

# Imported when asked for: the commands start without what they do not need.
_PLACES = {
    "emrdiff_cli.api.checking": ("check",),
    "emrdiff_cli.api.fusion": ("Fusion", "fuse", "krige"),
    "emrdiff_cli.api.scores": (
        "cc",
        "ergas",
        "evaluate",
        "psnr",
        "q2n",
        "rmse",
        "sam",
        "ssim",
        "uiqi",
        "wald",
    ),
    "emrdiff_cli.api.simulation": ("Simulation", "degrade", "simulate"),
    "emrdiff_cli.errors": ("EmrdiffError",),
}


def __getattr__(name: str) -> object:
    from pkgutil import resolve_name  # not before: Ctrl-C is to find next to nothing ahead of the command

    for module, names in _PLACES.items():
        if name in names:
            return resolve_name(f"{module}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""`check`: a pair in files, arrays or DataArrays, before it is fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from emrdiff_cli.api.fuse_options import Pathlike, option_value
from emrdiff_cli.api.place import lr_transform
from emrdiff_cli.api.scratch import Wavelengths, kind_of_pair, scratch
from emrdiff_cli.api.srf_files import response_text
from emrdiff_cli.pair import check as checking
from emrdiff_cli.pair.check_result import Check, RasterCheck

if TYPE_CHECKING:
    import xarray as xr

    Image = Pathlike | NDArray[Any] | xr.DataArray


def check(
    lr_hsi: Image,
    hr_msi: Image,
    *,
    ratio: float | None = None,
    wavelengths: Wavelengths = None,
    msi_wavelengths: Wavelengths = None,
    src_nodata: float | Sequence[float | None] | None = None,
    mask: str | Sequence[str] = (),
    srf: Any = None,
) -> Check:
    """Look at a pair before it is fused: how well the two fit, and what their misfit will cost.

    As `emrdiff check`, whose options the keywords are; the pair, and what is for arrays alone, as `fuse` has them.
    `usable` of the result says whether fusing the pair makes sense, `problems` why not. Raises UsageError,
    InputError.

    >>> import numpy as np
    >>> from emrdiff_cli import check
    >>> cube = np.random.default_rng(0).random((6, 64, 64), np.float32)
    >>> lr_hsi = cube.reshape(6, 16, 4, 16, 4).mean(axis=(2, 4))
    >>> found = check(lr_hsi, cube[:3])
    >>> found.usable, found.ratio
    (True, (4.0, 4.0))
    """
    kind_of_pair(lr_hsi, hr_msi)
    invalid, classes = option_value("src_nodata", src_nodata), option_value("mask", mask)
    with scratch() as held:
        lr = held.file(lr_hsi, "lr_hsi", wavelengths, lr_transform(lr_hsi, hr_msi, ratio))
        msi = held.file(hr_msi, "hr_msi", msi_wavelengths)
        response = response_text(srf, held, lr, wavelengths)
        found = checking.check(lr, msi, response, None, invalid, classes or ())
        return replace(
            found,
            lr_hsi=_named(found.lr_hsi, lr_hsi),
            hr_msi=_named(found.hr_msi, hr_msi),
            problems=tuple(map(held.told, found.problems)),
            warnings=held.said(found.warnings),
            notes=tuple(map(held.told, found.notes)),
        )


def _named(raster: RasterCheck, value: object) -> RasterCheck:
    """The raster by what it was handed in as: its path, or the image's name."""
    return raster if isinstance(value, str | Path) else replace(raster, path=Path(raster.path).name)

"""`simulate` and `degrade`: a high-resolution cube to a pair, or to the LR-HSI alone, by a stated protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli import simulation
from emrdiff_cli.api.fuse_options import Pathlike, option_value
from emrdiff_cli.api.image import read_image
from emrdiff_cli.api.scratch import Scratch, Wavelengths, as_is, image_of, kind_of, scratch
from emrdiff_cli.api.srf_files import response_text
from emrdiff_cli.core.sensor.degradation import Protocol
from emrdiff_cli.errors import UsageError
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.simulation import Recipe

if TYPE_CHECKING:
    import xarray as xr

Cube = TypeVar("Cube")
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Simulation(Generic[Cube]):
    """A simulated pair, as the cube was handed in, how it was made, and what is to be minded."""

    lr_hsi: Cube
    hr_msi: Cube
    recipe: Recipe
    warnings: tuple[str, ...] = ()


@overload
def simulate(
    hr_hsi: Pathlike,
    out_dir: Pathlike,
    *,
    ratio: int,
    srf: Any,
    protocol: Protocol = "wald",
    noise_db: float | None = None,
    seed: int = 0,
    format: Driver = "GTiff",
    overwrite: bool = False,
) -> Simulation[Path]: ...
@overload
def simulate(
    hr_hsi: NDArray[Any],
    *,
    ratio: int,
    srf: Any,
    wavelengths: Wavelengths,
    protocol: Protocol = "wald",
    noise_db: float | None = None,
    seed: int = 0,
) -> Simulation[Array]: ...
@overload
def simulate(
    hr_hsi: xr.DataArray,
    *,
    ratio: int,
    srf: Any,
    wavelengths: Wavelengths = None,
    protocol: Protocol = "wald",
    noise_db: float | None = None,
    seed: int = 0,
) -> Simulation[xr.DataArray]: ...
def simulate(
    hr_hsi: Any,
    out_dir: Pathlike | None = None,
    *,
    ratio: int,
    srf: Any,
    wavelengths: Wavelengths = None,
    protocol: Protocol = "wald",
    noise_db: float | None = None,
    seed: int = 0,
    format: Driver | None = None,  # noqa: A002 - the flag's name
    overwrite: bool = False,
) -> Simulation[Any]:
    """Make an LR-HSI and an HR-MSI from a high-resolution cube (Wald's protocol): as `emrdiff simulate`.

    A path's pair goes into `out_dir`; of an array (bands, rows, columns) or a DataArray it comes back the same way,
    in float32, NaN in holes. `srf`: a built-in sensor's name, a CSV, or an array (MSI bands, bands of the cube);
    `wavelengths`: nm, which it is looked up at. Raises UsageError, InputError, GridError.

    >>> import numpy as np
    >>> from emrdiff_cli import simulate
    >>> cube = np.full((30, 16, 16), 0.25, np.float32)
    >>> pair = simulate(cube, ratio=4, srf="sentinel-2a", wavelengths=np.linspace(440, 900, 30))
    >>> pair.lr_hsi.shape, pair.hr_msi.shape, pair.recipe.msi_bands
    ((30, 4, 4), (4, 16, 16), ('B2', 'B3', 'B4', 'B8'))
    """
    how: dict[str, Any] = {"protocol": protocol, "noise_db": noise_db, "seed": seed}
    ratio = _whole(ratio)
    with scratch() as held:
        if kind_of(hr_hsi, "hr_hsi") == "file":
            if out_dir is None:
                raise UsageError("out_dir: is missing: name the folder for the pair")
            held.file(hr_hsi, "hr_hsi", wavelengths)
            folder, text = Path(out_dir), response_text(srf, held, Path(hr_hsi))
            recipe = simulation.simulate_raster(
                *(Path(hr_hsi), folder, ratio, text or ""),
                **how,
                lr_driver=format or "GTiff",
                overwrite=overwrite,
            )
            return Simulation(folder / recipe.lr_hsi, folder / recipe.hr_msi, recipe, held.said())
        _refuse_file_keywords(out_dir=out_dir, format=format, overwrite=overwrite)
        source = _source(held, hr_hsi, wavelengths)
        text, folder = response_text(srf, held, source, wavelengths), held.folder / "pair"
        recipe = simulation.simulate_raster(source, folder, ratio, text or "", **how)
        lr, msi = (read_image(folder / name) for name in (recipe.lr_hsi, recipe.hr_msi))
        return Simulation(
            lr_hsi=as_is(lr, hr_hsi, hr_hsi, "hr_hsi"),
            hr_msi=as_is(msi, hr_hsi, hr_hsi, "hr_hsi", same_bands=False),
            recipe=recipe,
            warnings=held.said(),
        )


@overload
def degrade(
    hr_hsi: Pathlike,
    output: Pathlike,
    *,
    ratio: int,
    protocol: Protocol = "wald",
    psf_fwhm: float | Sequence[float] | None = None,
    overwrite: bool = False,
) -> Path: ...
@overload
def degrade(
    hr_hsi: NDArray[Any],
    *,
    ratio: int,
    protocol: Protocol = "wald",
    psf_fwhm: float | Sequence[float] | None = None,
) -> Array: ...
@overload
def degrade(
    hr_hsi: xr.DataArray,
    *,
    ratio: int,
    protocol: Protocol = "wald",
    psf_fwhm: float | Sequence[float] | None = None,
) -> xr.DataArray: ...
def degrade(
    hr_hsi: Any,
    output: Pathlike | None = None,
    *,
    ratio: int,
    protocol: Protocol = "wald",
    psf_fwhm: float | Sequence[float] | None = None,
    overwrite: bool = False,
) -> Any:
    """A cube, or any image, as pixels `ratio` times as large see it, by a protocol of `simulate`.

    `psf_fwhm`: instead of the protocol's PSF a Gaussian so wide, in pixels of the image; two: along rows and
    columns. Paths, arrays, DataArrays, holes and errors as of `simulate`.

    >>> import numpy as np
    >>> from emrdiff_cli import degrade
    >>> degrade(np.full((2, 8, 8), 0.5), ratio=4)[0]
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    """
    width, ratio = option_value("psf_fwhm", psf_fwhm), _whole(ratio)
    with scratch() as held:
        if kind_of(hr_hsi, "hr_hsi") == "file":
            if output is None:
                raise UsageError("output: is missing: name the raster to be written")
            simulation.degrade_raster(
                Path(hr_hsi), Path(output), ratio, protocol=protocol, psf_fwhm=width, overwrite=overwrite
            )
            return Path(output)
        _refuse_file_keywords(output=output, overwrite=overwrite)
        source, lr = _source(held, hr_hsi, None), held.folder / "lr_hsi"
        simulation.degrade_raster(source, lr, ratio, protocol=protocol, psf_fwhm=width)
        return held.like(lr, hr_hsi, hr_hsi, "hr_hsi")


def _source(held: Scratch, hr_hsi: Any, wavelengths: Wavelengths) -> Path:
    """The raster of a cube in float32: what is made of it is not rounded."""
    path = held.folder / "hr_hsi"
    image_of(hr_hsi, "hr_hsi", wavelengths).as_float32().write(path)
    return path


def _whole(ratio: Any) -> int:
    """A ratio as a whole number. Raises UsageError."""
    if not isinstance(ratio, int | float | np.number) or not float(ratio).is_integer() or ratio < 2:
        raise UsageError(f"ratio={ratio!r}: must be a whole number, 2 or more")
    return int(ratio)


def _refuse_file_keywords(**given: object) -> None:
    unfit = [name for name, value in given.items() if value not in (None, False)]
    if unfit:
        raise UsageError(f"{', '.join(unfit)}: for rasters in files; an image comes back as it was handed in")

"""Coverage of the HSI's spectrum by the MSI: by a given response, the files' wavelengths, or the pair itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from emrdiff_cli.core.sensor.coverage import (
    Coverage,
    coverage,
    covered_by_correlation,
    covered_by_response,
    covered_by_wavelengths,
)
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.radiometry import BandRadiometry, relate
from emrdiff_cli.core.sensor.srf import (
    LEAST_PIXELS,
    FittedResponse,
    SpectralResponse,
    estimate_response,
    fit_response,
    gaussian_response,
    sampled_response,
)
from emrdiff_cli.errors import InputError
from emrdiff_cli.pair.coregistration import at_known_place, locate
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.products.registry import grids_of
from emrdiff_cli.raster_info import Bands, RasterInfo
from emrdiff_cli.responses import own_response, read_response

_WIDEST = 30.0  # m: pixels of bands that are worth bringing to 10 m
_UNTOLD = 0.1  # share of an MSI band's variance: a response that leaves more is not the band's


@dataclass(frozen=True)
class ResponseChoice:
    """Where the MSI's response comes from; `automatic`: wavelengths, the estimate or the correlation."""

    kind: Literal["automatic", "metadata", "estimate", "table"]
    name: str = ""
    response: SpectralResponse | None = None


def choose_response(srf: str | None, hsi: RasterInfo, msi: RasterInfo) -> ResponseChoice:
    """Resolve `--srf`: `metadata`, `estimate`, a built-in table, a CSV or a product; None: the best there is.

    That is the response in the MSI's own metadata, of a product that tells it.

    Raises UsageError for none of these, InputError for what does not fit these two rasters.
    """
    if srf is None:
        own = None if hsi.bands.wavelengths_nm is None else own_response(msi.path)
        return ResponseChoice("automatic") if own is None else ResponseChoice("table", msi.driver, own)
    if srf == "estimate":
        return ResponseChoice("estimate")
    if srf == "metadata":
        if covered_by_wavelengths(hsi.bands, msi.bands) is None:
            raise InputError(_unrecorded(hsi, msi))
        return ResponseChoice("metadata")
    response = read_response(srf, msi.bands)
    if len(response.names) != msi.bands.count:
        raise InputError(
            f"--srf {srf} has {len(response.names)} bands, {msi.path.name} has {msi.bands.count}: give a table "
            "with one column for each of its bands, in their order, name the bands of a built-in one "
            "(`sentinel-2a:B2,B3,B4,B8,B11`), or `--srf estimate`"
        )
    if hsi.bands.wavelengths_nm is None:
        raise InputError(
            f"{hsi.path.name}: has no wavelengths, which --srf {srf} needs: write them as band tags "
            "`wavelength` and `wavelength_units`, or as `wavelength` in the ENVI header, or give `--srf estimate`"
        )
    return ResponseChoice("table", Path(srf).name, response)


def _unrecorded(hsi: RasterInfo, msi: RasterInfo) -> str:
    known = hsi.bands.wavelengths_nm is not None
    which = f"{msi.path.name} does not record its wavelengths and FWHM"
    if not known:
        which = f"{hsi.path.name} does not record its wavelengths"
    return (
        f"--srf metadata: {which}: write them as band tags `wavelength`, `wavelength_units` and `fwhm`, "
        "or give `--srf estimate`"
    )


def find_coverage(
    choice: ResponseChoice,
    pair: PairReader,
    dead: Collection[int],
    scene: LrScene | None = None,
    *,
    placed: bool = False,
) -> Coverage:
    """Which HSI bands lie under which MSI band; `scene` as `registered` makes it, None: made where needed.

    `placed`: the pair's geometry is known, and in it already.

    Chosen automatically, wavelengths and FWHM come before the estimate, and that before the correlation,
    where it leaves more than 10 % of an MSI band. `dead`: HSI bands (0-based) without values. Raises
    InputError where an estimate was asked for and there are too few pixels.
    """
    hsi, msi = pair.lr_info.bands, pair.msi_info.bands
    if choice.kind in ("automatic", "metadata"):
        covered = covered_by_wavelengths(hsi, msi)
        if covered is not None:
            return coverage("wavelengths", covered, hsi, msi)
    seen = registered(pair, placed) if scene is None else scene
    if choice.response is not None:
        return _by_table(choice.name, choice.response, hsi, msi, seen)
    found = _estimated(seen, hsi, dead)
    if choice.kind == "estimate" and found is None:
        raise InputError(
            f"--srf estimate: {seen.valid.sum()} valid LR pixels, {LEAST_PIXELS} or more are needed: "
            "name the response"
        )
    if found is not None and (choice.kind == "estimate" or not _poor(found)):
        return coverage("estimate", covered_by_response(found.matrix), hsi, msi, found)
    good = _good(hsi)
    under = [[good[i] for i in bands] for bands in covered_by_correlation(seen)]
    return coverage("correlation", under, hsi, msi)


def radiometry(choice: ResponseChoice, pair: PairReader, scene: LrScene) -> tuple[BandRadiometry, ...]:
    """Gain and offset of the MSI's bands against the HSI's; empty where no response is known.

    One is known from a table, or from the files' wavelengths and FWHM. `scene` as `registered` makes it.
    """
    hsi, msi = pair.lr_info.bands, pair.msi_info.bands
    response = choice.response
    if (
        choice.kind in ("automatic", "metadata")
        and msi.wavelengths_nm is not None
        and msi.fwhm_nm is not None
    ):
        response = gaussian_response(msi.wavelengths_nm, msi.fwhm_nm)
    if response is None or hsi.wavelengths_nm is None:
        return ()
    sampled = sampled_response(response, hsi.take(_good(hsi)).wavelengths_nm or ())
    sums = sampled.sum(axis=1, keepdims=True)
    return relate(scene, sampled / np.where(sums > 0, sums, 1.0))


def registered(pair: PairReader, placed: bool = False) -> LrScene:
    """A block of the pair at LR, put right by the displacement and the PSF it tells; bad bands left out.

    `placed`: it is in the geometry that was found already.
    """
    return at_known_place(pair) if placed else locate(pair).at_lr()


def concerns(found: Coverage) -> list[str]:
    """One line for a response that the pair speaks against."""
    left = found.residuals() or ()
    unlike = [(band, share) for band, share in enumerate(left, 1) if share > _UNTOLD]
    if not unlike:
        return []
    listed = ", ".join(f"{share:.0%} of MSI band {band}" for band, share in unlike)
    what = "the estimated response" if found.by == "estimate" else f"--{found.by}"
    return [f"{what} leaves {listed} unexplained at LR: bands marked covered may not be"]


def further_bands(found: Coverage, hsi: RasterInfo, msi: RasterInfo) -> list[str]:
    """A note where bands on a coarser grid of the MSI's product would cover what its own bands do not."""
    own = set(msi.bands.names or ())
    grids = [grid for grid in grids_of(msi.path) if grid.metres <= _WIDEST]
    fine = next((grid for grid in grids if own <= set(grid.bands)), None)
    coarser = [name for grid in grids if fine and grid.metres > fine.metres for name in grid.bands]
    if fine is None or not coarser or hsi.bands.wavelengths_nm is None:
        return []
    response = read_response(f"{msi.path}:{','.join(coarser)}")
    under = covered_by_response(sampled_response(response, hsi.bands.wavelengths_nm))
    gained = {band + 1 for bands in under for band in bands} & set(found.uncovered)
    if not gained:
        return []
    return [
        f"{len(gained)} of the {len(found.uncovered)} bands whose detail is extrapolated lie under "
        f"{', '.join(coarser)} of {msi.path.parent.name}: `emrdiff convert {msi.path.parent} msi.tif --bands all "
        f"--extent {hsi.path}` brings these to {fine.metres:g} m, for fusion with msi.tif"
    ]


def _by_table(name: str, response: SpectralResponse, hsi: Bands, msi: Bands, seen: LrScene) -> Coverage:
    good = _good(hsi)
    matrix = np.zeros((msi.count, hsi.count))
    matrix[:, good] = sampled_response(response, hsi.take(good).wavelengths_nm or ())
    fitted = fit_response(matrix[:, good], seen.hsi, seen.msi, seen.valid) if seen.valid.any() else None
    return coverage(f"srf {name}", covered_by_response(matrix), hsi, msi, fitted)


def _estimated(seen: LrScene, hsi: Bands, dead: Collection[int]) -> FittedResponse | None:
    """The estimate over all HSI bands, 0 for the bad and the dead; None with too few pixels."""
    if seen.valid.sum() < LEAST_PIXELS:
        return None
    good = _good(hsi)
    at = hsi.wavelengths_nm or tuple(range(hsi.count))
    alive = np.array([i not in dead for i in good])
    found = estimate_response(seen.hsi, seen.msi, seen.valid, [at[i] for i in good], alive)
    matrix = np.zeros((len(seen.msi), hsi.count))
    matrix[:, good] = found.matrix
    return FittedResponse(matrix, found.scale, found.residual)


def _poor(found: FittedResponse) -> bool:
    return bool((found.residual > _UNTOLD).any())


def _good(hsi: Bands) -> list[int]:
    bad = set(hsi.bad)
    return [i for i in range(hsi.count) if i not in bad]

"""Use case: Wald's test of a pair -> scores: both inputs degraded by r, fused, held against the LR-HSI."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from emrdiff_cli.core.metrics.cube import KEYS
from emrdiff_cli.core.sensor.degradation import DegradedImage, Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.observation import observe_msi
from emrdiff_cli.core.side_by_side import working_side_by_side
from emrdiff_cli.errors import InputError
from emrdiff_cli.evaluation.full_reference import Evaluation, evaluate
from emrdiff_cli.evaluation.recorded_pair import lr_on_grid, psf_sigmas
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.prepared_scene import Sampler
from emrdiff_cli.methods import EndPoint
from emrdiff_cli.pair.geometry import PairGeometry
from emrdiff_cli.pair.mask_notes import mask_notes
from emrdiff_cli.pair.modes import AskedGeometry
from emrdiff_cli.pair.pair import PairReader, open_pair
from emrdiff_cli.pair.registration import register
from emrdiff_cli.products.mask_classes import AskedMask
from emrdiff_cli.raster.identity import file_sha256
from emrdiff_cli.raster.spec import RasterSpec
from emrdiff_cli.raster.writing import VerifiedWriter
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo
from emrdiff_cli.runtime.threads import thread_count

Field = NDArray[np.float32]

_AUTO = AskedGeometry()
_LEAST_SIDE = 4  # pixels of the degraded LR-HSI, so that there is something to fuse

_Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class WaldTest:
    """The scores at LR, those of bicubic upsampling beside them, of a method on a pair degraded by `ratio`.

    `geometry`: that of the pair, found or given. Both were degraded by `psf_sigma_px`, the Gaussian's along rows
    and columns, in pixels of what was degraded.
    """

    evaluation: Evaluation
    method: str
    ratio: float
    geometry: PairGeometry
    psf_sigma_px: tuple[float, float]

    def record(self) -> dict[str, object]:
        """All of it as plain values for JSON."""
        found = self.evaluation.record()
        for path in ("fused", "reference"):
            del found[path]
        return {
            "method": self.method,
            "degraded_by": self.ratio,
            "protocol": "wald",
            "shift_lr_px": list(self.geometry.move),
            "psf_sigma_px": list(self.psf_sigma_px),
            **found,
        }


def tested_sampler(model: str, device: str) -> Sampler:
    """The sampler of a model, by name or folder. Raises ModelError, UsageError."""
    from emrdiff_cli.runtime.torch_library import require_torch

    require_torch()
    from emrdiff_cli.checkpoint import load_model
    from emrdiff_cli.fusion.sampler import ModelSampler, choose_device
    from emrdiff_cli.zoo import WEIGHTS, find

    return ModelSampler(load_model(find(model).folder / WEIGHTS), choose_device(device))


def wald_test(
    lr_hsi: Path | str,
    hr_msi: Path | str,
    method: EndPoint,
    sampler: Sampler | None,
    *,
    name: str | None = None,
    geometry: AskedGeometry = _AUTO,
    mask: AskedMask = (),
    peak: float | None = None,
    metrics: Collection[str] = KEYS,
    hashes: bool = False,
    report: _Report = lambda done, total, note: None,
) -> WaldTest:
    """Fuse the pair degraded by its ratio and score it against the LR-HSI, on the ground both cover.

    With a sampler its model (`name`) fuses, else `method`. The pair is put right first, as `geometry` asks, and
    both are degraded by its PSF, as wide against their pixels as it is against the MSI's. LR pixels whose PSF is
    not wholly on valid pixels are left out. `mask`: as `open_pair` takes it. Raises InputError for a pair too
    small to be degraded, and what fusion raises.
    """
    with TemporaryDirectory(prefix="emrdiff-wald-") as folder, working_side_by_side(thread_count()):
        lr, msi, truth = (Path(folder) / f"{part}.tif" for part in ("lr_hsi", "hr_msi", "truth"))
        with open_pair(Path(lr_hsi), Path(hr_msi), mask=mask) as stated:
            found, masked = register(stated, *geometry), mask_notes(stated, stated.mask_shares())
            pair = found.applied(stated)
            _write_degraded(pair, lr, msi, truth)
            ratio, sources, sigmas = pair.alignment.ratio, (pair.lr_info, pair.msi_info), psf_sigmas(pair)
        fused = Path(folder) / "fused.tif"
        fuse(
            *(lr, msi, fused, method, sampler, FusionOptions()),
            geometry=PairGeometry(psf=found.psf),
            progress=lambda done, of, note="": report(done, of, note or "fused"),
        )
        scored = evaluate(fused, truth, baseline=lr, peak=peak, ratio=ratio, metrics=metrics)
    roles = ("lr_hsi", "hr_msi")
    sha256 = (
        {role: file_sha256(info.path) for role, info in zip(roles, sources, strict=True)} if hashes else {}
    )
    # The files in the folder are gone; what was degraded is what there is to name.
    scored = replace(
        scored,
        notes=(*masked, *found.notes, *found.warnings, *scored.notes),
        reference=sources[0].path,
        baseline_path=sources[0].path,
        ratio_source="the grids of the pair",
        sha256=sha256,
    )
    return WaldTest(scored, name or method, ratio, found, sigmas)


def _write_degraded(pair: PairReader, lr: Path, msi: Path, truth: Path) -> None:
    """Write the LR-HSI as it is, degraded by the ratio, and the MSI degraded to its grid, as float32."""
    values = lr_on_grid(pair)
    _, height, width = values.shape
    grid = pair.lr_info.grid.crop(pair.alignment.lr_window)
    rows, cols = pair.alignment.rows.ratio, pair.alignment.cols.ratio
    lower = int(height / rows), int(width / cols)
    if min(lower) < _LEAST_SIDE:
        raise InputError(
            f"{pair.lr_info.path.name}: {height} x {width} common LR pixels are too few to be degraded by "
            f"{pair.alignment.ratio:.3g} once more: Wald's test needs {_LEAST_SIDE} pixels a side afterwards; "
            "score the fused raster against its inputs instead (FUSED --lr-hsi ... --hr-msi ...)"
        )
    below = Grid(*lower, grid.transform @ Affine.scale(cols, rows), grid.crs_wkt)
    _write(truth, pair.lr_info, grid, values)
    _write(lr, pair.lr_info, below, _degraded(values, lower, (rows, cols), pair.psf))
    seen = observe_msi(pair.strips, pair.resampling.down)
    _write(msi, pair.msi_info, grid, np.where(seen.covered, seen.msi_at_lr, np.float32(np.nan)))


def _degraded(values: Field, lower: tuple[int, int], ratios: tuple[float, float], psf: Psf) -> Field:
    """The LR-HSI through the PSF; bands without any valid pixel stay so and hold no other up."""
    rows, cols = (AxisPlacement(ratio, 0.0) for ratio in ratios)
    alive = np.isfinite(values).any(axis=(1, 2))
    cube = DegradedImage(
        int(alive.sum()), psf.down(rows, cols, lower, (values.shape[1], values.shape[2])), np.float64
    )
    cube.add(0, values[alive], np.asarray(np.isfinite(values[alive]).all(axis=0)))
    degraded = np.full((len(values), *lower), np.nan, np.float32)
    degraded[alive] = cube.masked_mean()
    return degraded


def _write(path: Path, like: RasterInfo, grid: Grid, values: Field) -> None:
    bands = Bands(
        *(
            getattr(like.bands, key)
            for key in ("count", "wavelengths_nm", "fwhm_nm", "good", "names", "units")
        )
    )
    spec = RasterSpec(grid, bands, "float32", nodata=float("nan"), scale_recorded=like.scale_recorded)
    with VerifiedWriter(path, spec) as writer:
        writer.append(np.asarray(values, np.float32))

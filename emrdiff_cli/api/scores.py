"""`evaluate` and single scores: a fused image against a reference, or against the pair that it was made from."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.api.fuse_options import Pathlike, option_value
from emrdiff_cli.api.fusion import Fusion
from emrdiff_cli.api.place import lr_transform
from emrdiff_cli.api.scratch import Scratch, Wavelengths, kind_of, kind_of_pair, scratch
from emrdiff_cli.api.srf_files import response_text
from emrdiff_cli.errors import UsageError
from emrdiff_cli.evaluation import full_reference, reduced_resolution
from emrdiff_cli.evaluation.full_reference import Evaluation, chosen_metrics
from emrdiff_cli.evaluation.no_reference import Consistency, check_consistency
from emrdiff_cli.evaluation.pair_evidence import gather_evidence
from emrdiff_cli.evaluation.reduced_resolution import WaldTest
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.methods import END_POINTS, EndPoint
from emrdiff_cli.pair.modes import AskedGeometry, Register

if TYPE_CHECKING:
    import xarray as xr

    Image = Pathlike | NDArray[Any] | xr.DataArray
    Fused = Image | Fusion[Any]

_USUAL = {"baseline": None, "peak": None, "ratio": None, "border": 0, "align": False, "mask": ()}


@overload
def evaluate(
    fused: Fused,
    reference: Image,
    *,
    baseline: Image | None = None,
    metrics: str | Sequence[str] = "all",
    border: int = 0,
    align: bool = False,
    peak: float | None = None,
    ratio: float | None = None,
    mask: str | Sequence[str] = (),
) -> Evaluation: ...
@overload
def evaluate(
    fused: Fused, *, lr_hsi: Image, hr_msi: Image, srf: Any = None, evidence: bool = False
) -> Consistency: ...
def evaluate(
    fused: Any,
    reference: Any = None,
    *,
    baseline: Any = None,
    lr_hsi: Any = None,
    hr_msi: Any = None,
    srf: Any = None,
    evidence: bool = False,
    metrics: str | Sequence[str] = "all",
    border: int = 0,
    align: bool = False,
    peak: float | None = None,
    ratio: float | None = None,
    mask: str | Sequence[str] = (),
) -> Evaluation | Consistency:
    """Score a fused image against a reference on their common ground, or against the pair that it was made from.

    As `emrdiff evaluate`, whose options the keywords are. Each may be a path, an array (bands, rows, columns) or a
    DataArray; `fused` also what `fuse` returned, which knows the pair's geometry and its ratio. Scores are in
    `scores.overall` of an Evaluation, by metric, and in `overall` of a Consistency, whose `evidence` has what the
    pair tells of each method if that is asked for. Raises UsageError, InputError, GridError.

    >>> import numpy as np
    >>> from emrdiff_cli import evaluate
    >>> reference = np.random.default_rng(0).random((4, 32, 32), np.float32)
    >>> found = evaluate(reference + 0.01, reference, ratio=4, metrics="psnr_db,ergas")
    >>> round(found.scores.overall["psnr_db"], 3)
    40.0
    """
    given = dict(locals())
    if reference is not None:
        if lr_hsi is not None or hr_msi is not None or srf is not None or evidence:
            raise UsageError(
                "lr_hsi, hr_msi, srf, evidence: hold the fused image against its pair: leave reference out"
            )
        return _against_reference(given)
    asked = {name for name, usual in _USUAL.items() if name != "baseline" and given[name] != usual}
    unfit = sorted(asked | ({"baseline"} if baseline is not None else set()))
    if unfit or metrics != "all":
        raise UsageError(f"{', '.join(unfit) or 'metrics'}: of a comparison with a reference: give that too")
    return _against_pair(fused, lr_hsi, hr_msi, srf, evidence)


def _against_reference(given: dict[str, Any]) -> Evaluation:
    asked = given["metrics"]
    keys = chosen_metrics(asked if isinstance(asked, str) else ",".join(asked))
    with scratch() as held:
        fused = _fused_file(held, given["fused"], given["reference"])
        reference = held.file(given["reference"], "reference")
        baseline = None if given["baseline"] is None else held.file(given["baseline"], "baseline")
        found = full_reference.evaluate(
            fused,
            reference,
            baseline=baseline,
            peak=given["peak"],
            ratio=given["ratio"],
            metrics=keys,
            border=given["border"],
            align=given["align"],
            mask=option_value("mask", given["mask"]) or (),
        )
        return replace(
            found,
            fused=Path(held.told(str(found.fused))),
            reference=Path(held.told(str(found.reference))),
            baseline_path=None if baseline is None else Path(held.told(str(found.baseline_path))),
            notes=held.said(found.notes),
        )


def _against_pair(fused: Any, lr_hsi: Any, hr_msi: Any, srf: Any, evidence: bool) -> Consistency:
    if lr_hsi is None or hr_msi is None:
        raise UsageError("nothing to score against: give a reference, or lr_hsi and hr_msi")
    with scratch() as held:
        path, lr = _fused_file(held, fused, hr_msi), held.file(lr_hsi, "lr_hsi")
        msi = held.file(hr_msi, "hr_msi")
        response = response_text(srf, held, lr)
        found = check_consistency(path, lr, msi, srf=response)
        return replace(
            found,
            evidence=gather_evidence(path, lr, msi, srf=response) if evidence else None,
            fused=Path(held.told(str(found.fused))),
            lr_hsi=Path(held.told(str(found.lr_hsi))),
            hr_msi=Path(held.told(str(found.hr_msi))),
            notes=held.said(found.notes),
        )


def _fused_file(held: Scratch, value: Any, beside: Any) -> Path:
    """The raster of what is scored beside another image; of a fusion, with its tags, and as large as the MSI."""
    if not isinstance(value, Fusion):
        return held.file(value, "fused")
    cube, window = value.cube, value.window
    if kind_of(cube, "fused") == "file":
        return Path(cube)
    if isinstance(cube, np.ndarray) and isinstance(beside, np.ndarray):
        sides = beside.shape[-2:]
        if sides != cube.shape[-2:] and window.rows.stop <= sides[0] and window.cols.stop <= sides[1]:
            whole = np.full((len(cube), *sides), np.nan, np.float32)
            whole[:, window.rows, window.cols] = cube
            cube = whole
    return held.file(cube, "fused", tags=value.tags)


def wald(
    lr_hsi: Image,
    hr_msi: Image,
    *,
    method: EndPoint | None = None,
    model: Pathlike | None = None,
    ratio: float | None = None,
    wavelengths: Wavelengths = None,
    msi_wavelengths: Wavelengths = None,
    register: Register = "auto",
    shift: Sequence[float] | None = None,
    psf_fwhm: float | Sequence[float] | None = None,
    mask: str | Sequence[str] = (),
    metrics: str | Sequence[str] = "all",
    peak: float | None = None,
    device: str = "auto",
) -> WaldTest:
    """Wald's test of a pair: both degraded by their ratio, fused by a method or a model, scored against the LR-HSI.

    As `emrdiff evaluate --wald`, whose options the keywords are; the pair, and what is for arrays alone, as `fuse`
    has them. `evaluation.scores.overall` of the result has the scores, `evaluation.baseline` those of bicubic
    upsampling. Raises UsageError, InputError, GridError, ModelError.

    >>> import numpy as np
    >>> from emrdiff_cli import wald
    >>> ramp = np.linspace(0.2, 0.4, 6 * 64 * 64, dtype=np.float32).reshape(6, 64, 64)
    >>> lr_hsi = ramp.reshape(6, 16, 4, 16, 4).mean(axis=(2, 4))
    >>> found = wald(lr_hsi, ramp[:2], method="glp", register="off", metrics="psnr_db")
    >>> found.evaluation.scores.overall["psnr_db"] > 40
    True
    """
    if (method is None) == (model is None):
        raise UsageError("Wald's test needs to know what fuses: give either model or method")
    if method is not None and method not in END_POINTS:
        raise UsageError(f"method={method!r}: must be one of {', '.join(END_POINTS)}")
    kind_of_pair(lr_hsi, hr_msi)
    placed = {"shift": option_value("shift", shift), "psf_fwhm": option_value("psf_fwhm", psf_fwhm)}
    asked = FusionOptions(register=register, **placed)
    keys = chosen_metrics(metrics if isinstance(metrics, str) else ",".join(metrics))
    with scratch() as held:
        lr = held.file(lr_hsi, "lr_hsi", wavelengths, lr_transform(lr_hsi, hr_msi, ratio))
        msi = held.file(hr_msi, "hr_msi", msi_wavelengths)
        found = reduced_resolution.wald_test(
            *(lr, msi, method or "bicubic"),
            None if model is None else reduced_resolution.tested_sampler(os.fspath(model), device),
            name=None if model is None else os.fspath(model),
            geometry=AskedGeometry(asked.register, asked.shift, asked.psf_fwhm),
            mask=option_value("mask", mask) or (),
            peak=peak,
            metrics=keys,
        )
        tested = found.evaluation
        named = Path(held.told(str(tested.reference)))
        told = replace(tested, reference=named, baseline_path=named, notes=held.said(tested.notes))
        return replace(found, evaluation=told)


def psnr(fused: Fused, reference: Image, *, peak: float | None = None, border: int = 0) -> float:
    """The PSNR in dB, mean of the bands', against a reference; infinity where the two are the same.

    `peak`: by default 1 for reflectance, else the reference's maximum. This and the other scores take what
    `evaluate` takes, leave out pixels that are invalid in either, are NaN where undefined, and raise the same.

    >>> import numpy as np
    >>> from emrdiff_cli import psnr
    >>> round(psnr(np.full((3, 8, 8), 0.51), np.full((3, 8, 8), 0.5)), 3)
    40.0
    """
    return _score("psnr_db", fused, reference, peak=peak, border=border)


def sam(fused: Fused, reference: Image, *, border: int = 0) -> float:
    """The spectral angle in degrees, mean of the pixels'.

    >>> import numpy as np
    >>> from emrdiff_cli import sam
    >>> red, green = np.zeros((2, 3, 8, 8))
    >>> red[0] = green[1] = 1
    >>> round(sam(red, red + green), 3)
    45.0
    """
    return _score("sam_deg", fused, reference, border=border)


def ergas(fused: Fused, reference: Image, *, ratio: float | None = None, border: int = 0) -> float:
    """The relative error ERGAS; `ratio`: HR pixels in an LR pixel's side, which a fusion records itself."""
    found = evaluate(fused, reference, metrics="ergas", ratio=ratio, border=border)
    if found.ratio_source is None:
        raise UsageError("ergas: goes with the ratio: give it (`ratio`)")
    value = found.scores.overall["ergas"]
    return math.nan if value is None else value


def ssim(fused: Fused, reference: Image, *, peak: float | None = None, border: int = 0) -> float:
    """The structural similarity, mean of the bands', in Gaussian windows of 11 x 11 pixels."""
    return _score("ssim", fused, reference, peak=peak, border=border)


def uiqi(fused: Fused, reference: Image, *, border: int = 0) -> float:
    """Wang and Bovik's quality index, mean of the bands', in windows of 32 x 32 pixels."""
    return _score("uiqi", fused, reference, border=border)


def q2n(fused: Fused, reference: Image, *, border: int = 0) -> float:
    """The hypercomplex quality index of all bands, in blocks of 32 x 32 pixels."""
    return _score("q2n", fused, reference, border=border)


def cc(fused: Fused, reference: Image, *, border: int = 0) -> float:
    """The correlation coefficient, mean of the bands'."""
    return _score("cc", fused, reference, border=border)


def rmse(fused: Fused, reference: Image, *, border: int = 0) -> float:
    """The root of the mean squared error of all values, in data units."""
    return _score("rmse", fused, reference, border=border)


def _score(key: str, fused: Any, reference: Any, **options: Any) -> float:
    value = _against_reference(
        {"fused": fused, "reference": reference, "metrics": key, **_USUAL, **options}
    ).scores.overall[key]
    return math.nan if value is None else value

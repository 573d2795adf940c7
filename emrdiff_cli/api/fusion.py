"""`fuse` and `krige`: a pair in files, arrays or DataArrays to the fused cube, by the road of the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.api.fuse_options import (
    FuseFiles,
    FuseImages,
    HowToFuse,
    Method,
    Pathlike,
    refuse_file_keywords,
    refuse_image_keywords,
    settings,
)
from emrdiff_cli.api.image import PLAIN, read_image
from emrdiff_cli.api.place import lr_transform, window_of
from emrdiff_cli.api.scratch import Scratch, Wavelengths, as_is, kind_of_pair, scratch
from emrdiff_cli.api.srf_files import response_text
from emrdiff_cli.core.evidence.verdict import Verdict
from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.fusing import FusionReport
from emrdiff_cli.fusion.job import FusionJob, choose_model, refuse_existing, run_job
from emrdiff_cli.fusion.options import FusionSettings
from emrdiff_cli.fusion.output import EVIDENCE_TAG
from emrdiff_cli.fusion.precision import AskedPrecision
from emrdiff_cli.methods import Effort
from emrdiff_cli.pair.modes import Register
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.raster.spec import Driver
from emrdiff_cli.raster_info import Window

if TYPE_CHECKING:
    import xarray as xr

Cube = TypeVar("Cube")
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Fusion(Generic[Cube]):
    """A fused cube with what is known of it.

    `cube`: as the pair was handed in, a path, an array (bands, rows, columns) or a DataArray; arrays are float32 in
    the units of the LR-HSI's values, NaN where there is nothing to fuse. `window`: the part of the HR-MSI that it
    covers, in its pixels. `report`: the command's record of the fusion. `uncertainty` (standard deviations),
    `changed` (on the LR-HSI's grid: 1 where the pair contradicts itself, NaN where that is unknown) and `samples`
    (draws): where they were asked for. `tags`: what a raster of the cube records of it.
    """

    cube: Cube
    report: FusionReport
    window: Window
    uncertainty: Cube | None = None
    changed: Cube | None = None
    samples: tuple[Cube, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict | None:
        """Why this method; None where it was asked for by name."""
        return self.report.verdict

    @property
    def method(self) -> str:
        """The method that fused."""
        return self.report.method

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the fusion."""
        return self.report.notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be minded."""
        return self.report.warnings

    def __repr__(self) -> str:
        done = self.report
        told = "" if self.verdict is None else f"; {self.verdict.sentence}"
        return f"<Fusion: {done.bands} bands of {done.height} x {done.width} by {done.method}{told}>"


@overload
def fuse(
    lr_hsi: Pathlike, hr_msi: Pathlike, output: Pathlike, **options: Unpack[FuseFiles]
) -> Fusion[Path]: ...
@overload
def fuse(
    lr_hsi: NDArray[Any],
    hr_msi: NDArray[Any],
    *,
    ratio: float | None = None,
    wavelengths: Wavelengths = None,
    msi_wavelengths: Wavelengths = None,
    **options: Unpack[FuseImages],
) -> Fusion[Array]: ...
@overload
def fuse(
    lr_hsi: xr.DataArray,
    hr_msi: xr.DataArray,
    *,
    ratio: float | None = None,
    wavelengths: Wavelengths = None,
    msi_wavelengths: Wavelengths = None,
    **options: Unpack[FuseImages],
) -> Fusion[xr.DataArray]: ...
def fuse(
    lr_hsi: Any,
    hr_msi: Any,
    output: Pathlike | None = None,
    *,
    ratio: float | None = None,
    wavelengths: Wavelengths = None,
    msi_wavelengths: Wavelengths = None,
    method: Method = "auto",
    model: Pathlike | None = None,
    effort: Effort = "normal",
    bounds: Sequence[float] | None = None,
    register: Register = "auto",
    shift: Sequence[float] | None = None,
    psf_fwhm: float | Sequence[float] | None = None,
    src_nodata: float | Sequence[float | None] | None = None,
    mask: str | Sequence[str] = (),
    srf: Any = None,
    steps: int | None = None,
    seed: int = 0,
    tile: int = 0,
    overlap: int | None = None,
    batch_size: int | None = None,
    num_threads: int | None = None,
    max_memory: int | str | None = None,
    device: str = "auto",
    precision: AskedPrecision = "auto",
    format: Driver | None = None,  # noqa: A002 - the flag's name
    dtype: str | None = None,
    co: Mapping[str, str] | None = None,
    overviews: bool | None = None,
    clip: bool = False,
    physical: bool = True,
    changed: Pathlike | bool | None = None,
    uncertainty: Pathlike | bool | None = None,
    samples: int = 0,
    samples_dir: Pathlike | None = None,
    report: Pathlike | None = None,
    stac: str | None = None,
    qml: bool = False,
    overwrite: bool = False,
    resume: bool = False,
) -> Fusion[Any]:
    """Fuse an LR-HSI and an HR-MSI into the cube at the MSI's resolution: paths, arrays or DataArrays, both alike.

    Files are fused as by `emrdiff fuse`, whose options the keywords are, into `output`. Arrays are (bands, rows,
    columns), and DataArrays have their dimensions in any order, as rioxarray gives them; neither is changed, NaN is
    a hole, and no file is left. They are laid down as rasters in the temporary folder (`TMPDIR`) and fused as files
    are, so that the numbers are the same. `ratio`: MSI pixels in an LR pixel's side, where both share their upper
    left corner; without it that of their shapes, which has to be whole; DataArrays say by their coordinates where
    they lie. `wavelengths`, `msi_wavelengths`: nm, of arrays. `srf`: also an array (MSI bands, LR-HSI's bands).
    `uncertainty` and `changed` are True for images, and come back beside the cube, as `samples` do.

    Raises EmrdiffError's children: UsageError, InputError, GridError, ModelError, WriteError.

    >>> import numpy as np
    >>> from emrdiff_cli import fuse
    >>> cube = np.random.default_rng(0).random((6, 32, 32), np.float32)
    >>> lr_hsi = cube.reshape(6, 8, 4, 8, 4).mean(axis=(2, 4))
    >>> hr_msi = cube.reshape(2, 3, 32, 32).mean(axis=1)
    >>> fused = fuse(lr_hsi, hr_msi, ratio=4, method="kriging", register="off")
    >>> fused.cube.shape, fused.method
    ((6, 32, 32), 'kriging')
    """
    given = dict(locals())
    if kind_of_pair(lr_hsi, hr_msi) == "file":
        return _fuse_files(given)
    return _fuse_images(given)


@overload
def krige(
    lr_hsi: Pathlike,
    hr_msi: Pathlike,
    output: Pathlike,
    *,
    overwrite: bool = ...,
    **options: Unpack[HowToFuse],
) -> Path: ...
@overload
def krige(
    lr_hsi: NDArray[Any], hr_msi: NDArray[Any], *, ratio: float | None = ..., **options: Unpack[HowToFuse]
) -> Array: ...
@overload
def krige(
    lr_hsi: xr.DataArray, hr_msi: xr.DataArray, *, ratio: float | None = ..., **options: Unpack[HowToFuse]
) -> xr.DataArray: ...
def krige(lr_hsi: Any, hr_msi: Any, *output: Any, **options: Any) -> Any:
    """The cube alone by area-to-point kriging: `fuse` with `method="kriging"`, whose arguments and errors it has.

    >>> import numpy as np
    >>> from emrdiff_cli import krige
    >>> ramp = np.linspace(0.2, 0.4, 6 * 32 * 32, dtype=np.float32).reshape(6, 32, 32)
    >>> lr_hsi = ramp.reshape(6, 8, 4, 8, 4).mean(axis=(2, 4))
    >>> bool(abs(krige(lr_hsi, ramp[:2], ratio=4) - ramp).max() < 0.001)
    True
    """
    if "method" in options:
        raise UsageError("method: is kriging: give another to `fuse`")
    return fuse(lr_hsi, hr_msi, *output, method="kriging", **options).cube


def _fuse_files(given: Mapping[str, Any]) -> Fusion[Path]:
    refuse_image_keywords(given)
    output = Path(given["output"])
    with scratch() as held:
        asked = settings({**given, "srf": response_text(given["srf"], held, given["lr_hsi"], None)})
        job = FusionJob(Path(given["lr_hsi"]), Path(given["hr_msi"]), output, asked)
        refuse_existing(job)
        done = _run(job, held)
        if asked.report is not None:
            from emrdiff_cli.evaluation.fusion_page import write_job_report

            write_job_report(job, done)
    info = read_info(output)
    return Fusion(
        cube=output,
        report=done,
        window=window_of(info.grid, read_info(job.hr_msi).grid),
        uncertainty=asked.uncertainty,
        changed=asked.changed,
        samples=asked.draw_files(output),
        tags=info.tags,
    )


def _fuse_images(given: Mapping[str, Any]) -> Fusion[Any]:
    refuse_file_keywords(given)
    lr_hsi, hr_msi = given["lr_hsi"], given["hr_msi"]
    with scratch() as held:
        lr = held.file(lr_hsi, "lr_hsi", given["wavelengths"], lr_transform(lr_hsi, hr_msi, given["ratio"]))
        msi = held.file(hr_msi, "hr_msi", given["msi_wavelengths"])
        srf = response_text(given["srf"], held, lr, given["wavelengths"])
        job = FusionJob(lr, msi, held.folder / "fused", _in_folder(given, srf, held.folder))
        done = _run(job, held)
        image = read_image(job.output)
        asked = job.settings
        told = {key: text for key, text in image.tags.items() if key != EVIDENCE_TAG}
        fused = replace(image, tags=told)
        deviations = None if asked.uncertainty is None else read_image(asked.uncertainty)
        mask = None if asked.changed is None else read_image(asked.changed)
        return Fusion(
            cube=as_is(fused, lr_hsi, hr_msi, "hr_msi"),
            report=replace(done, output=job.output.name),
            window=window_of(image.grid, read_info(msi).grid),
            uncertainty=None if deviations is None else as_is(deviations, lr_hsi, hr_msi, "hr_msi"),
            changed=None if mask is None else as_is(mask, lr_hsi, lr_hsi, "lr_hsi", same_bands=False),
            samples=tuple(held.like(path, lr_hsi, hr_msi, "hr_msi") for path in asked.draw_files(job.output)),
            tags=image.tags,
        )


def _in_folder(given: Mapping[str, Any], srf: str | None, folder: Path) -> FusionSettings:
    """The settings of a fusion of images, all of whose files lie in the folder."""
    asked = {name: given[name] for name in given if name not in ("uncertainty", "changed")}
    asked |= {"srf": srf, "dtype": "float32", "format": "GTiff", "co": PLAIN, "overviews": False}
    asked |= {name: folder / name if given[name] else None for name in ("uncertainty", "changed")}
    samples_dir = folder / "samples" if given["samples"] else None
    if samples_dir is not None:
        samples_dir.mkdir()
    return settings(asked | {"samples_dir": samples_dir})


def _run(job: FusionJob, held: Scratch) -> FusionReport:
    """Run a job as the command does; what that says on the way is among the warnings."""
    chosen = choose_model(job)
    concerns = () if chosen is None else chosen.concerns
    done = run_job(job, chosen)
    return replace(
        done,
        warnings=held.said((*concerns, *done.warnings)),
        notes=tuple(held.told(note) for note in done.notes),
    )

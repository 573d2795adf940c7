"""`emrdiff fuse`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emrdiff_cli.cli.options import AsJson, Device, HrMsi, LrHsi, OutputFormat, Overwrite, Quiet, format_of
from emrdiff_cli.cli.progress import progress
from emrdiff_cli.errors import OutputExistsError, UsageError

if TYPE_CHECKING:
    from emrdiff_cli.fusion import FusionOptions
    from emrdiff_cli.prepared_scene import Sampler
    from emrdiff_cli.zoo import ZooModel

_Method = Literal["emrdiff", "bicubic", "glp", "glp-local"]


_Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME|FOLDER", help="Model [the shipped one that fits]."),
]
_Steps = Annotated[int | None, typer.Option(min=1, help="Sampling steps [the model's, 5].")]
_Overlap = Annotated[
    int | None,
    typer.Option(min=0, help="Overlap of tiles in MSI pixels [a quarter of the tile, at least 32]."),
]
_Dtype = Annotated[
    str | None, typer.Option("--dtype", "-t", help="Type of the output's values [the LR-HSI's].")
]
_Bounds = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option(
        metavar="LEFT BOTTOM RIGHT TOP",
        help="Write this part alone, in the MSI's CRS; same pixels as of all.",
    ),
]
_CreationOptions = Annotated[
    list[str] | None,
    typer.Option("--co", "--creation-option", metavar="KEY=VALUE", help="GDAL creation option."),
]


def fuse(
    lr_hsi: LrHsi,
    hr_msi: HrMsi,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Fused raster, on the MSI's grid.")],
    model: _Model = None,
    method: Annotated[
        _Method, typer.Option(help="The model's diffusion, or a method that needs no training.")
    ] = "emrdiff",
    bounds: _Bounds = None,
    coregister: Annotated[
        bool, typer.Option("--coregister", help="Find the LR-HSI's displacement on the pair, and undo it.")
    ] = False,
    steps: _Steps = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    tile: Annotated[int, typer.Option(min=0, help="Tile side in MSI pixels [twice the training patch].")] = 0,
    overlap: _Overlap = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles run at a time.")] = 4,
    device: Device = "auto",
    output_format: OutputFormat = None,
    dtype: _Dtype = None,
    creation_option: _CreationOptions = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fuse LR_HSI and HR_MSI into the cube at the MSI's resolution, georeferenced, wavelengths kept.

    The output has the LR-HSI's bands, units and type on the MSI's grid, over the ground both cover. It
    appears only when all of it is written and verified.

    Examples:
    ```
    emrdiff fuse lr_hsi.hdr hr_msi.tif fused.tif
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.tif --model ./my-model --device cuda
    emrdiff fuse lr_hsi.tif hr_msi.tif fused.dat -f ENVI --method glp-local
    emrdiff fuse lr_hsi.tif hr_msi.tif part.tif --bounds 383472 5815000 385000 5816500
    ```
    """
    from emrdiff_cli.fusion import FusionOptions

    options = FusionOptions(
        tile=tile,
        overlap=overlap,
        batch_size=batch_size,
        driver=output_format or format_of(output),
        dtype=dtype,
        overwrite=overwrite,
        bounds=bounds,
        coregister=coregister,
        creation_options=_creation_options(creation_option or []),
    )
    if method != "emrdiff" and model is not None:
        raise UsageError(f"--model is for --method emrdiff; {method} needs none")
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} is there already: give --overwrite to replace it")
    chosen = _choose_model(lr_hsi, hr_msi, model) if method == "emrdiff" else None
    if chosen is not None and verbose:
        typer.echo(f"Model: {chosen.name} ({chosen.folder})", err=True)
    if dry_run:
        _print_plan(lr_hsi, hr_msi, output, chosen, method, options, as_json)
        return
    _run(lr_hsi, hr_msi, output, method, chosen, (device, seed, steps), options, quiet, as_json)


def _run(
    lr_hsi: Path,
    hr_msi: Path,
    output: Path,
    method: _Method,
    chosen: ZooModel | None,
    draw: tuple[str, int, int | None],
    options: FusionOptions,
    quiet: bool,
    as_json: bool,
) -> None:
    from emrdiff_cli import fusion

    sampler: Sampler | None = None
    if chosen is not None:
        sampler, provenance = _load(chosen, *draw)
        options = dataclasses.replace(options, provenance=provenance)
    end_point = "bicubic" if method == "emrdiff" else method
    with progress("fuse", quiet) as report:
        result = fusion.fuse(lr_hsi, hr_msi, output, end_point, sampler, options, report)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
    elif not quiet:
        typer.echo(
            f"{result.output}: {result.bands} bands of {result.height} x {result.width} by {result.method} "
            f"in {result.seconds:.1f} s",
            err=True,
        )
    for note in () if quiet else result.notes:
        typer.echo(f"Note: {note}", err=True)
    for warning in () if quiet else result.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    if result.clipped_values and not quiet:
        typer.echo(
            f"Warning: {result.clipped_values} values clipped to the range of the output's type", err=True
        )


def _choose_model(lr_hsi: Path, hr_msi: Path, model: str | None) -> ZooModel:
    from emrdiff_cli import zoo
    from emrdiff_cli.fusion import check_fit
    from emrdiff_cli.pairing import place
    from emrdiff_cli.raster.reading import read_info

    lr, msi = read_info(lr_hsi), read_info(hr_msi)
    ratio = place(lr, msi).ratio
    if model is None:
        return zoo.match(lr, msi, ratio)
    chosen = zoo.find(model)
    check_fit(chosen.config, lr, msi)
    if not zoo.fits(chosen.config, lr, msi, ratio):
        typer.echo(
            f"Warning: {chosen.name} was made for ratio {chosen.config.ratio:g} or other wavelengths; "
            f"this pair has ratio {ratio:.3g}",
            err=True,
        )
    return chosen


def _load(chosen: ZooModel, device: str, seed: int, steps: int | None) -> tuple[Sampler, dict[str, str]]:
    import hashlib

    from emrdiff_cli.checkpoint import load_model
    from emrdiff_cli.sampling import ModelSampler, choose_device
    from emrdiff_cli.zoo import WEIGHTS

    path = chosen.folder / WEIGHTS
    sampler = ModelSampler(load_model(path), choose_device(device), seed, steps)
    provenance = {
        "emrdiff_model": chosen.name,
        "emrdiff_model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "emrdiff_steps": str(steps or chosen.config.steps),
        "emrdiff_seed": str(seed),
    }
    return sampler, provenance


def _print_plan(
    lr_hsi: Path,
    hr_msi: Path,
    output: Path,
    chosen: ZooModel | None,
    method: str,
    options: FusionOptions,
    as_json: bool,
) -> None:
    from emrdiff_cli.fusion import plan

    facts: dict[str, Any] = plan(
        lr_hsi, hr_msi, output, None if chosen is None else chosen.config, method, options
    )
    facts["model"] = None if chosen is None else chosen.name
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for name, value in facts.items():
            typer.echo(f"{name}: {value}")


def _creation_options(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--co {pair}: must be KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)

"""`emrdiff simulate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from emrdiff_cli.cli import completion, panels
from emrdiff_cli.cli.options import AsJson, Format, Overwrite, Quiet
from emrdiff_cli.cli.progress import progress


def simulate(
    hr_hsi: Annotated[Path, typer.Argument(metavar="HR_HSI", help="High-resolution cube, with wavelengths.")],
    out_dir: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pair; made if need be.")],
    ratio: Annotated[
        int,
        typer.Option(
            min=2, help="HR pixels in an LR pixel's side.", rich_help_panel=panels.GEOMETRY, metavar="N"
        ),
    ],
    srf: Annotated[
        str,
        typer.Option(
            metavar="NAME[:BANDS]|CSV|SAFE",
            help="MSI's response: a built-in sensor's (of some bands, or all), a CSV's, or a SAFE's own.",
            autocompletion=completion.responses,
            rich_help_panel=panels.GEOMETRY,
        ),
    ],
    protocol: Annotated[
        Literal["wald", "nssr", "emrdiff", "mtf"],
        typer.Option(help="How the cube is degraded.", rich_help_panel=panels.METHOD),
    ] = "wald",
    noise_db: Annotated[
        float | None,
        typer.Option(
            metavar="DB", help="Signal-to-noise ratio of noise added to both.", rich_help_panel=panels.METHOD
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the noise.", rich_help_panel=panels.METHOD, metavar="N")
    ] = 0,
    output_format: Annotated[
        Format,
        typer.Option("--format", "-f", "--of", help="Format of the LR-HSI.", rich_help_panel=panels.WRITTEN),
    ] = "GTiff",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make an LR-HSI and an HR-MSI from a high-resolution cube (Wald's protocol).

    Writes lr_hsi, hr_msi.tif and recipe.json: kernel, phase, boundary, ratio and the response's hash.

    Examples:
    ```
    emrdiff simulate cube.tif pair --ratio 8 --srf sentinel-2a
    emrdiff simulate cube.hdr pair --ratio 4 --srf camera.csv --protocol mtf --noise-db 35
    ```
    """
    from emrdiff_cli.simulation import simulate_raster

    with progress("simulate", quiet) as report:
        recipe = simulate_raster(
            hr_hsi,
            out_dir,
            ratio,
            srf,
            protocol=protocol,
            noise_db=noise_db,
            seed=seed,
            lr_driver=output_format,
            overwrite=overwrite,
            progress=report,
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(recipe)))

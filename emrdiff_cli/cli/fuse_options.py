"""Options of `emrdiff fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrdiff_cli.cli import completion, panels
from emrdiff_cli.fusion.precision import AskedPrecision
from emrdiff_cli.methods import METHODS, MethodChoice
from emrdiff_cli.methods import Effort as EffortChoice

LrHsi = Annotated[Path | None, typer.Argument(metavar="LR_HSI", help="Low-resolution cube.")]
HrMsi = Annotated[Path | None, typer.Argument(metavar="HR_MSI", help="High-resolution multispectral image.")]
Output = Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="Fused raster, on the MSI's grid.")]
Model = Annotated[
    str | None,
    typer.Option(
        *("--model", "-m"),
        metavar="NAME|FOLDER",
        help="Model [the shipped one that fits].",
        autocompletion=completion.shipped_models,
        rich_help_panel=panels.METHOD,
    ),
]
_METHODS = "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items())
Method = Annotated[
    MethodChoice,
    typer.Option(
        metavar="NAME",
        help=f"auto: a shipped model that fits and beats kriging, else what the pair itself names; {_METHODS}.",
        rich_help_panel=panels.METHOD,
    ),
]
Effort = Annotated[
    EffortChoice,
    typer.Option(
        help="How much of the pair is looked at for --method auto to choose by.",
        rich_help_panel=panels.METHOD,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, help="Sampling steps [the model's, 5].", rich_help_panel=panels.METHOD, metavar="N"),
]
Seed = Annotated[int, typer.Option(help="Seed of the draw.", rich_help_panel=panels.METHOD, metavar="N")]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Of the network, and of kriging on large scenes: auto, cpu, cuda or cuda:N.",
        rich_help_panel=panels.COMPUTING,
    ),
]
Precision = Annotated[
    AskedPrecision,
    typer.Option(
        help="Of the network. auto: bf16 where the device is faster in it, as the output's tags say.",
        rich_help_panel=panels.COMPUTING,
    ),
]
Tile = Annotated[
    int,
    typer.Option(
        min=0,
        help="Tile side in MSI pixels [twice the training patch].",
        rich_help_panel=panels.COMPUTING,
        metavar="N",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Overlap of tiles in MSI pixels [a quarter of the tile, at least 32].",
        rich_help_panel=panels.COMPUTING,
        metavar="N",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Tiles run at a time [4, or one a thread; fewer where memory is short].",
        rich_help_panel=panels.COMPUTING,
        metavar="N",
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Keep the process within this, such as 2GB: fewer tiles at a time, or an error before the start.",
        rich_help_panel=panels.COMPUTING,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the unfinished run of this output; the result is the same.",
        rich_help_panel=panels.WRITTEN,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        "-t",
        metavar="TYPE",
        help="Type of the output's values [the LR-HSI's].",
        rich_help_panel=panels.VALUES,
    ),
]
Bounds = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option(
        metavar="L B R T",
        help="Write this part alone, LEFT BOTTOM RIGHT TOP in the MSI's CRS; same pixels as of all.",
        rich_help_panel=panels.WRITTEN,
    ),
]
CreationOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--co",
        "--creation-option",
        metavar="KEY=VALUE",
        help="GDAL creation option.",
        rich_help_panel=panels.WRITTEN,
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|HTML",
        help="Also write one page: report.html in this folder, or this file.",
        rich_help_panel=panels.BESIDE,
    ),
]
Changed = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write a byte GeoTIFF on the LR-HSI's grid: 1 where the pair contradicts itself (changed ground, "
        "clouds, shadows), so that no detail is taken; 0 elsewhere.",
        rich_help_panel=panels.BESIDE,
    ),
]
Physical = Annotated[
    bool,
    typer.Option(
        "--physical/--no-physical",
        help="Lift values that cannot be (negative where the LR-HSI has none) at the cost of others of the same "
        "LR pixel.",
        rich_help_panel=panels.VALUES,
    ),
]
Clip = Annotated[
    bool,
    typer.Option(
        "--clip",
        help="Allow a --dtype that cuts off more than 1 % of the LR-HSI's values.",
        rich_help_panel=panels.VALUES,
    ),
]
Uncertainty = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write the standard deviation of each band, on the output's grid, and beside it FILE_mean.tif, "
        "their mean; --method auto is kriging then, which alone has them.",
        rich_help_panel=panels.BESIDE,
    ),
]
Samples = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Also write N cubes drawn from kriging's posterior, by --seed.",
        rich_help_panel=panels.BESIDE,
    ),
]
SamplesDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="With --samples: the folder of OUTPUT_sample_01.tif and so on.",
        rich_help_panel=panels.BESIDE,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be done, in what time and memory; write nothing.",
        rich_help_panel=panels.SAID,
    ),
]
NoTrial = Annotated[
    bool,
    typer.Option(
        "--no-trial", help="With --dry-run: do not try how long it takes.", rich_help_panel=panels.SAID
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", rich_help_panel=panels.SAID)
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Fuse several pairs, a JSON line each: columns lr_hsi,hr_msi,output and any option, paths from its "
        "folder.",
        rich_help_panel=panels.ARCHIVE,
    ),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        "-k",
        help="With --manifest: a pair that fails stops no other.",
        rich_help_panel=panels.ARCHIVE,
    ),
]
SkipDone = Annotated[
    bool,
    typer.Option(
        "--skip-done",
        help="Leave an output that records the same inputs, model and options as it is.",
        rich_help_panel=panels.WRITTEN,
    ),
]
NumParts = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="With --manifest: do one of N parts of it.", rich_help_panel=panels.ARCHIVE
    ),
]
PartId = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="I",
        help="The part to do, 0 to N - 1: every Nth row from I on.",
        rich_help_panel=panels.ARCHIVE,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="local|tcp://HOST:PORT",
        help="Run the model on dask.distributed: on workers of this machine, or of a scheduler that you trust, "
        "and it you; they read the inputs from the same paths. Needs `emrdiff[cluster]`.",
        rich_help_panel=panels.CLUSTER,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="With --scheduler local: how many [one a GPU; without GPUs one a core].",
        rich_help_panel=panels.CLUSTER,
    ),
]

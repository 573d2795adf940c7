"""Options of `emrdiff evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrdiff_cli.cli import completion, panels
from emrdiff_cli.methods import END_POINTS, EndPoint

Fused = Annotated[Path | None, typer.Argument(metavar="FUSED", help="Raster to score.")]
Reference = Annotated[Path | None, typer.Argument(metavar="REFERENCE", help="Raster taken as the truth.")]
Baseline = Annotated[
    Path | None,
    typer.Option(
        metavar="LR_HSI",
        help="Also score bicubic upsampling of this LR-HSI; gives the ratio.",
        rich_help_panel=panels.READ,
    ),
]
LrHsi = Annotated[
    Path | None,
    typer.Option(
        "--lr-hsi",
        metavar="FILE",
        help="Without REFERENCE: the LR-HSI that FUSED was made from.",
        rich_help_panel=panels.READ,
    ),
]
HrMsi = Annotated[
    Path | None,
    typer.Option(
        "--hr-msi",
        "--msi",
        metavar="FILE",
        help="The HR-MSI of FUSED; a report shows it too. With --baseline: also score kriging of the two.",
        rich_help_panel=panels.READ,
    ),
]
Srf = Annotated[
    str | None,
    typer.Option(
        metavar="RESPONSE",
        autocompletion=completion.responses,
        help="The MSI's response, for the consistency with the MSI: a sensor's NAME[:BANDS], a CSV, a SAFE, "
        "metadata or estimate [a SAFE's own, else the files' wavelengths and FWHM, else estimated from the "
        "pair].",
        rich_help_panel=panels.GEOMETRY,
    ),
]
Wald = Annotated[
    bool,
    typer.Option(
        "--wald",
        help="Wald's test: degrade both inputs, fuse, score against the LR-HSI.",
        rich_help_panel=panels.METHOD,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FOLDER",
        help="Model that Wald's test fuses by.",
        rich_help_panel=panels.METHOD,
    ),
]
Method = Annotated[
    EndPoint | None,
    typer.Option(
        metavar="NAME",
        help=f"Method that Wald's test fuses by, without a model: {', '.join(END_POINTS)}.",
        rich_help_panel=panels.METHOD,
    ),
]
Evidence = Annotated[
    bool,
    typer.Option(
        "--evidence",
        help="Also what the pair itself tells of each method without a model, FUSED's geometry taken for granted.",
        rich_help_panel=panels.SCORES,
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Score several pairs, a JSON line each, and with --report one page: columns fused,reference"
        "[,baseline,hr_msi,name], paths from its folder.",
        rich_help_panel=panels.ARCHIVE,
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="all, cheap (without SSIM, UIQI and Q2n), or names with commas.",
        rich_help_panel=panels.SCORES,
    ),
]
Border = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="PIXELS",
        help="Left out at the edges of the common ground.",
        rich_help_panel=panels.READ,
    ),
]
Align = Annotated[
    bool,
    typer.Option(
        "--align",
        help="Find how FUSED lies on REFERENCE, up to 40 pixels away, and move it there, at fractions of a pixel "
        "by splines.",
        rich_help_panel=panels.READ,
    ),
]
Peak = Annotated[
    float | None,
    typer.Option(
        metavar="L",
        help="Peak of PSNR and SSIM [1 for reflectance, else the maximum].",
        rich_help_panel=panels.SCORES,
    ),
]
Ratio = Annotated[
    float | None,
    typer.Option(
        metavar="R", help="Ratio of ERGAS [from --baseline or FUSED's tags].", rich_help_panel=panels.SCORES
    ),
]
Conventions = Annotated[
    list[str] | None,
    typer.Option(
        "--convention",
        metavar="NAME",
        help="Another paper's figures beside ours, and what differs: emrdiff, psrt, dspnet, args or toolbox; "
        "repeatable.",
        rich_help_panel=panels.SCORES,
    ),
]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=NUMBER",
        help="Exit with 5 where a score is less; repeatable.",
        rich_help_panel=panels.SCORES,
    ),
]
FailOver = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=NUMBER",
        help="Exit with 5 where a score is more; repeatable.",
        rich_help_panel=panels.SCORES,
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
SeamsOf = Annotated[
    str | None,
    typer.Option(
        metavar="auto|SIZE,OVERLAP",
        help="Measure the steps at FUSED's tile edges: those it records, or of such tiles.",
        rich_help_panel=panels.SCORES,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on one line.", rich_help_panel=panels.SAID)
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="Append a row for each image to this file.",
        rich_help_panel=panels.BESIDE,
    ),
]

"""Options of `emrdiff evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emrdiff_cli.cli import completion
from emrdiff_cli.methods import EndPoint

Fused = Annotated[Path | None, typer.Argument(metavar="FUSED", help="Raster to score.")]
Reference = Annotated[Path | None, typer.Argument(metavar="REFERENCE", help="Raster taken as the truth.")]
Baseline = Annotated[
    Path | None,
    typer.Option(metavar="LR_HSI", help="Also score bicubic upsampling of this LR-HSI; gives the ratio."),
]
LrHsi = Annotated[
    Path | None, typer.Option("--lr-hsi", help="Without REFERENCE: the LR-HSI that FUSED was made from.")
]
HrMsi = Annotated[
    Path | None, typer.Option("--hr-msi", "--msi", help="The HR-MSI of FUSED; a report shows it too.")
]
Srf = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:BANDS]|CSV|SAFE|metadata|estimate",
        autocompletion=completion.responses,
        help="The MSI's response, for the consistency with the MSI [a SAFE's own, else the files' "
        "wavelengths and FWHM, else estimated from the pair].",
    ),
]
Wald = Annotated[
    bool, typer.Option("--wald", help="Wald's test: degrade both inputs, fuse, score against the LR-HSI.")
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME|FOLDER", help="Model that Wald's test fuses by.")
]
Method = Annotated[
    EndPoint | None,
    typer.Option(help="Method that Wald's test fuses by, without a model."),
]
Evidence = Annotated[
    bool,
    typer.Option(
        "--evidence",
        help="Also what the pair itself tells of each method without a model, FUSED's geometry taken for granted.",
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Score several pairs, a JSON line each: columns fused,reference[,baseline], paths from its folder.",
    ),
]
Metrics = Annotated[
    str, typer.Option(metavar="LIST", help="all, cheap (without SSIM, UIQI and Q2n), or names with commas.")
]
Border = Annotated[
    int, typer.Option(min=0, metavar="PIXELS", help="Left out at the edges of the common ground.")
]
Align = Annotated[
    bool,
    typer.Option(
        "--align",
        help="Find how FUSED lies on REFERENCE, up to 40 pixels away, and move it there, at fractions of a pixel "
        "by splines.",
    ),
]
Peak = Annotated[
    float | None,
    typer.Option(metavar="L", help="Peak of PSNR and SSIM [1 for reflectance, else the maximum]."),
]
Ratio = Annotated[
    float | None, typer.Option(metavar="R", help="Ratio of ERGAS [from --baseline or FUSED's tags].")
]
Conventions = Annotated[
    list[str] | None,
    typer.Option(
        "--convention",
        metavar="emrdiff|psrt|dspnet|args|toolbox",
        help="Another paper's figures beside ours, and what differs; repeatable.",
    ),
]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=NUMBER", help="Exit with 5 where a score is less; repeatable."),
]
FailOver = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=NUMBER", help="Exit with 5 where a score is more; repeatable."),
]
Report = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Also write report.html, one page, into this folder.")
]
SeamsOf = Annotated[
    str | None,
    typer.Option(
        metavar="auto|SIZE,OVERLAP",
        help="Measure the steps at FUSED's tile edges: those it records, or of such tiles.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Append a row for each image to this file.")
]

"""Reports as one HTML page that needs nothing but itself: headings, figures and tables, also for print."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import WriteError
from emrdiff_cli.raster.png import encode_png
from emrdiff_cli.runtime.atomic import check_target, make_folder, write_whole
from emrdiff_cli.version import __version__

REPORT = "report.html"

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff;
  max-width: 1080px; margin: 0 auto; padding: 24px; }
h1 { font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 8px; padding-bottom: 4px; border-bottom: 1px solid #bbb; }
p { margin: 6px 0; }
.verdict { font-size: 17px; border-left: 4px solid #0072B2; padding: 4px 0 4px 12px; }
.wide { overflow-x: auto; }
.note, figcaption { color: #444; font-size: 13px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e2e2e2;
  overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; overflow-wrap: normal; }
.scores td + td, .scores th + th { text-align: right; padding-left: 18px; }
figure { margin: 0; break-inside: avoid; }
figcaption { padding: 4px 0; }
figcaption b { color: #1a1a1a; }
.row { display: grid; gap: 14px; margin: 8px 0; grid-template-columns: repeat(var(--columns, 1), minmax(0, 1fr)); }
img, figure > svg { display: block; width: 100%; height: auto; }
img { image-rendering: pixelated; background: #f4f4f4; border: 1px solid #ccc;
  box-sizing: border-box; }
svg { overflow: visible; } svg image { image-rendering: pixelated; }
svg text { font: 11.5px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1a1a1a; }
svg .grid { stroke: #e2e2e2; } svg .axis { stroke: #555; fill: none; }
svg .line { fill: none; stroke-width: 1.7; stroke-linejoin: round; }
svg .mark { stroke: #555; stroke-dasharray: 4 3; } svg .bar { fill: #0072B2; }
svg .bad { fill: #dcdcdc; } svg .tinted { fill: #f3f1e4; } svg .area { fill-opacity: 0.25; }
svg .ring { fill: none; stroke: #000; stroke-width: 1.6; }
svg .halo { fill: none; stroke: #fff; stroke-width: 4.5; }
svg .big { font-size: 20px; } svg .scale { stroke: #1a1a1a; stroke-width: 2; fill: none; }
svg .dot { font-size: 20px; font-weight: 700; paint-order: stroke; stroke: #fff;
  stroke-width: 4px; }
.scores td:first-child { overflow-wrap: normal; }
@media (max-width: 640px) {
  body { padding: 16px; }
  .row { grid-template-columns: minmax(0, 1fr); }
  table:not(.scores) :is(th, td) { display: block; padding-right: 0; }
  table:not(.scores) th { border: 0; padding-bottom: 0; white-space: normal; }
}
@page { margin: 14mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; margin-top: 18px; }
  .row, tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def page(title: str, lead: str, sections: Iterable[tuple[str, str]], data: Mapping[str, object]) -> str:
    """Put sections (heading, body) under a title; `data`, plain values, goes along for programs.

    `lead` and the headings are text, the bodies HTML.
    """
    body = "".join(f"<section><h2>{escape(head)}</h2>{inner}</section>" for head, inner in sections if inner)
    record = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>"
        f'<h1>{escape(title)}</h1><p>{escape(lead)}</p>{body}<p class="note">emrdiff {__version__}</p>'
        f'<script type="application/json" id="data">{record}</script></body></html>\n'
    )


def figure(picture: str, caption: str, title: str = "") -> str:
    """A picture, HTML, over its caption, text."""
    head = f"<b>{escape(title)}</b> " if title else ""
    return f"<figure>{picture}<figcaption>{head}{escape(caption)}</figcaption></figure>"


def row(figures: Sequence[str], columns: int = 0) -> str:
    """Figures side by side; `columns`: 0 for as many as there are."""
    if not figures:
        return ""
    return f'<div class="row" style="--columns:{columns or len(figures)}">{"".join(figures)}</div>'


def image(pixels: NDArray[np.uint8], alternative: str) -> str:
    """RGB or RGBA, (3 or 4, rows, columns), as a picture in the page itself."""
    return f'<img alt="{escape(alternative, quote=True)}" src="{data_uri(pixels)}">'


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """RGB or RGBA as the address of a PNG that is its own content."""
    return f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode('ascii')}"


def table(rows: Iterable[tuple[str, object]]) -> str:
    """A table of two columns: names and their values."""
    cells = (f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in rows)
    return f"<table>{''.join(cells)}</table>"


def notes(texts: Iterable[str]) -> str:
    """Lines of small text."""
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts)


def check_report(folder: Path, overwrite: bool) -> None:
    """Raise OutputExistsError where a report would be lost, WriteError where the folder's name is a file's.

    WriteError too where the report cannot be written into a folder that is there.
    """
    if folder.exists() and not folder.is_dir():
        raise WriteError(f"{folder}: is a file: name a folder for the report")
    if folder.exists():
        check_target(folder / REPORT, overwrite)


def write_report(folder: Path, text: str, overwrite: bool) -> Path:
    """Write the page into a folder, made if need be, in one step; raises as `check_report` does."""
    check_report(folder, overwrite)
    make_folder(folder)
    write_whole(folder / REPORT, text.encode())
    return folder / REPORT

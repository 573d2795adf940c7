"""Reports as one HTML page that needs nothing but itself: headings, figures and tables, also for print."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.errors import WriteError
from emrdiff_cli.raster.png import encode_png
from emrdiff_cli.report.style import STYLE
from emrdiff_cli.runtime.atomic import check_target, make_folder, write_whole
from emrdiff_cli.version import __version__

REPORT = "report.html"


def page(title: str, lead: str, sections: Iterable[tuple[str, str]], data: Mapping[str, object]) -> str:
    """Put sections (heading, body) under a title; `data`, plain values, goes along for programs.

    `lead` and the headings are text, the bodies HTML. Each section can be linked to by its anchor (`anchors`).
    """
    shown = [(heading, inner) for heading, inner in sections if inner]
    names = anchors(heading for heading, _ in shown)
    body = "".join(
        f'<section id="{name}"><h2>{escape(head)}</h2>{inner}</section>'
        for name, (head, inner) in zip(names, shown, strict=True)
    )
    links = "".join(
        f'<li><a href="#{name}">{escape(head)}</a></li>' for name, (head, _) in zip(names, shown, strict=True)
    )
    record = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<header><h1>{escape(title)}</h1><p>{escape(lead)}</p>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main>{body}</main>'
        f'<footer><p class="note">emrdiff {__version__}</p></footer>'
        f'<script type="application/json" id="data">{record}</script></body></html>\n'
    )


def anchors(headings: Iterable[str]) -> list[str]:
    """The anchors of sections with these headings, in their order: words of a-z and 0-9, each one once."""
    found: list[str] = []
    for heading in headings:
        name = "-".join(re.findall("[a-z0-9]+", heading.lower())) or "section"
        # The data's own name is taken.
        taken = {"data", *found}
        number = next(n for n in count(1) if (name if n == 1 else f"{name}-{n}") not in taken)
        found.append(name if number == 1 else f"{name}-{number}")
    return found


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
    """A table of two columns: names and their values, in words."""
    cells = (
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(in_words(value))}</td></tr>'
        for key, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


def in_words(value: object) -> str:
    """A value for people: no signs of a programming language, and no more digits than tell."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "\u2013"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{str(key).replace('_', ' ')} {in_words(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(in_words, value)) or "\u2013"
    return str(value)


def notes(texts: Iterable[str]) -> str:
    """Lines of small text."""
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts)


def report_file(asked: Path) -> Path:
    """The page that `--report` asks for: a file by its ending, else `report.html` in a folder."""
    return asked if asked.suffix.lower() in (".html", ".htm") and not asked.is_dir() else asked / REPORT


def check_report(asked: Path, overwrite: bool) -> None:
    """Raise OutputExistsError where a report would be lost, WriteError where the folder's name is a file's.

    WriteError too where the report cannot be written into a folder that is there.
    """
    target = report_file(asked)
    if target.parent.exists() and not target.parent.is_dir():
        raise WriteError(
            f"{target.parent}: is a file: name a folder for the report, or a file that ends in .html"
        )
    if target.parent.exists():
        check_target(target, overwrite)


def write_report(asked: Path, text: str, overwrite: bool) -> Path:
    """Write the page where it is asked for, its folder made if need be, in one step.

    Raises as `check_report` does.
    """
    check_report(asked, overwrite)
    target = report_file(asked)
    make_folder(target.parent)
    write_whole(target, text.encode())
    return target

"""Reports taken apart: their words, tags, pictures and charts."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.io import MemoryFile

from emrdiff_cli.raster.reading import ignoring_missing_georeference

VOID = {"meta", "img", "line", "rect", "circle", "path", "polyline", "image"}


class Page(HTMLParser):
    """A page taken apart; every tag must be closed, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def record(self) -> dict[str, Any]:
        found = re.search(r'<script type="application/json" id="data">(.*)</script>', self.text)
        assert found is not None
        record: dict[str, Any] = json.loads(found[1])
        return record

    @property
    def headings(self) -> list[str]:
        return re.findall(r"<h2>(.*?)</h2>", self.text)

    def section(self, heading: str) -> str:
        return self.text.split(f"<h2>{heading}</h2>")[1].split("</section>")[0]

    def pictures(self) -> dict[str, np.ndarray]:
        """The last picture of each name, with which its alternative text begins."""
        return {
            attrs["alt"].partition(", ")[0]: decode(attrs["src"]) for tag, attrs in self.tags if tag == "img"
        }

    def assert_told_in_words(self) -> None:
        """Pictures and charts say what they show; no table holds what only a program reads."""
        assert all(attrs.get("alt") for tag, attrs in self.tags if tag == "img")
        assert all(attrs.get("aria-label") for tag, attrs in self.tags if tag == "svg")
        cells = re.findall(r"<td[^>]*>(.*?)</td>", self.text)
        assert [cell for cell in cells if re.search(r"[{\[]|^\(|\b(None|True|False)\b", cell)] == []

    def assert_self_contained(self) -> None:
        self.assert_told_in_words()
        addresses = [
            value for _, attrs in self.tags for key, value in attrs.items() if key in ("src", "href")
        ]
        names = [attrs["id"] for _, attrs in self.tags if "id" in attrs]
        assert len(names) == len(set(names))
        inside = {f"#{name}" for name in names}
        assert all(a.startswith("data:image/png;base64,") or a in inside for a in addresses)
        assert not re.search(r"https?:|url\(|@import", self.text)
        assert not {"link", "iframe"} & {tag for tag, _ in self.tags}


def decode(address: str) -> np.ndarray:
    content = base64.b64decode(address.partition(",")[2])
    with ignoring_missing_georeference(), MemoryFile(content) as file, file.open() as dataset:
        return np.asarray(dataset.read())


def polylines(svg: str) -> list[int]:
    """Points of each line of a chart."""
    return [len(places.split()) for places in re.findall(r'<polyline class="line" points="([^"]*)"', svg)]

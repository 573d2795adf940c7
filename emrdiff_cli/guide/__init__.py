"""The guide: pages in Markdown, which come with the package, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from emrdiff_cli.errors import UsageError, did_you_mean

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "From downloaded files to a map": (
        "enmap-sentinel2",
        "prisma-pan",
        "emit-sentinel2",
        "drone",
        "archive-slurm",
    ),
    "Topics": (
        "methods",
        "verdict",
        "geometry",
        "uncertainty",
        "resources",
        "archives",
        "formats",
        "python",
        "training",
        "evaluation",
        "commands",
        "faq",
    ),
}
PAGES = tuple(name for names in SECTIONS.values() for name in names)


def read_page(name: str) -> str:
    """Markdown of a page; UsageError, with the nearest name, where there is none."""
    if name not in PAGES:
        near = did_you_mean(name, PAGES) or f": there are {', '.join(PAGES)}"
        raise UsageError(f"the guide has no page {name}{near} (`emrdiff guide` lists them)")
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")


def title_of(page: str) -> str:
    """The title of a page: its first line, without the sign of a heading."""
    return page.split("\n", 1)[0].removeprefix("# ")

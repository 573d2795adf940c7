"""`emrdiff guide`."""

from __future__ import annotations

from typing import Annotated

import typer

from emrdiff_cli.cli import completion


def guide(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A page's name; without one the pages are listed.", autocompletion=completion.guide_pages
        ),
    ] = None,
) -> None:
    """List the guide's pages, or show one: from downloaded files to a map, and what is behind it.

    Off a terminal a page is printed as it is written, in Markdown.

    Examples:
    ```
    emrdiff guide
    emrdiff guide enmap-sentinel2
    emrdiff guide verdict > verdict.md
    ```
    """
    from rich.console import Console
    from rich.markdown import Markdown

    from emrdiff_cli.guide import read_page

    console = Console()
    page = _contents() if name is None else read_page(name)
    if console.is_terminal:
        console.print(Markdown(page, hyperlinks=False))
    else:
        typer.echo(page, nl=False)


def _contents() -> str:
    """The list of pages, in Markdown."""
    from emrdiff_cli.guide import SECTIONS, read_page, title_of

    parts = []
    for section, names in SECTIONS.items():
        width = max(len(name) for name in names)
        lines = [f"    {name:<{width}}  {title_of(read_page(name))}" for name in names]
        parts.append(f"# {section}\n\n" + "\n".join(lines) + "\n")
    return "\n".join([*parts, "`emrdiff guide NAME` shows a page.\n"])

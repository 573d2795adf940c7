"""`emrdiff models`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from emrdiff_cli.cli import completion

if TYPE_CHECKING:
    from emrdiff_cli.zoo import ZooModel


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A model's name or folder: print its card.", autocompletion=completion.shipped_models
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the shipped models, or print the card of one.

    Examples:
    ```
    emrdiff models
    emrdiff models chikusei-x8
    emrdiff models ./my-model --json
    ```
    """
    from emrdiff_cli import zoo

    chosen = zoo.shipped() if name is None else [zoo.find(name)]
    if as_json:
        for model in chosen:
            record = {"name": model.name, "megabytes": round(model.megabytes, 2), "card": model.card}
            typer.echo(json.dumps(record | dataclasses.asdict(model.config)))
    elif name is not None:
        typer.echo(chosen[0].card or json.dumps(dataclasses.asdict(chosen[0].config), indent=2))
    else:
        _print_table(chosen)


def _print_table(chosen: list[ZooModel]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "ratio", "HSI bands", "HSI range (nm)", "MSI bands (nm)", "MB")
    for model in chosen:
        config = model.config
        table.add_row(
            model.name,
            f"{config.ratio:g}",
            str(config.hsi_bands) if config.fixed_bands else "any",
            "-".join(f"{v:.0f}" for v in config.hsi_range_nm),
            " ".join(f"{v:.0f}" for v in config.msi_centres_nm) or str(config.msi_bands),
            f"{model.megabytes:.1f}",
        )
    Console().print(table)

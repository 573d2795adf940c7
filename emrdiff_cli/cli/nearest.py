"""Commands that name the nearest choice where a value is none of an option's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand

from emrdiff_cli.errors import did_you_mean

if TYPE_CHECKING:
    from typing import Any


class SuggestingCommand(TyperCommand):
    """A command whose errors of choices end with the nearest; of options and commands Typer itself does so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _with_nearest(error.message)
            raise


def _with_nearest(message: str) -> str:
    """A message, "'given' is not one of 'a', 'b'.", that ends with the nearest; any other as it is."""
    # As Typer quotes them; some of its versions say first of which class the error is.
    found = re.fullmatch(r"(?:Value error, )?('([^']*)' is not one of (.*?))\.?", message)
    if found is None:
        return message
    known = re.findall(r"'([^']*)'", found[3])
    return f"{found[1]}{did_you_mean(found[2], known) or '.'}"

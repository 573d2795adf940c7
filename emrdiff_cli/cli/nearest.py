"""Commands that name the nearest choice where a value is none of an option's, and take no option for a value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand

from emrdiff_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from typing import Any


class SuggestingCommand(TyperCommand):
    """A command whose errors of choices end with the nearest; of options and commands Typer itself does so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, once no option stands where another's value is missing. Raises UsageError."""
        _refuse_options_as_values(self.get_params(ctx), args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _with_nearest(error.message)
            raise


def _refuse_options_as_values(parameters: list[Any], args: list[str]) -> None:
    """Raise UsageError for an option in place of another's value, which would be taken for a name."""
    options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    taken = {
        name: 0 if option.is_flag or option.count else option.nargs
        for option in options
        for name in option.opts
    }
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    place = 0
    while place < len(args) and args[place] != "--":
        name, count = args[place], taken.get(args[place], 0)
        values = args[place + 1 : place + 1 + count]
        for value in filter(known.__contains__, values):
            raise UsageError(_without_value(name, count, value))
        place += 1 + len(values)


def _without_value(name: str, count: int, option: str) -> str:
    """The message of an option (of `count` values) after which another stands."""
    wanted = "a value" if count == 1 else f"{count} values"
    joined = f", or {name}={option} if that is meant" if count == 1 and name.startswith("--") else ""
    return f"{name}: takes {wanted}, and {option} is an option: give what is missing{joined}"


def _with_nearest(message: str) -> str:
    """A message, "'given' is not one of 'a', 'b'.", that ends with the nearest; any other as it is."""
    # As Typer quotes them; some of its versions say first of which class the error is.
    found = re.fullmatch(r"(?:Value error, )?('([^']*)' is not one of (.*?))\.?", message)
    if found is None:
        return message
    known = re.findall(r"'([^']*)'", found[3])
    return f"{found[1]}{did_you_mean(found[2], known) or '.'}"

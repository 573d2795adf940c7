"""Panels of the commands' help: what an option is about, under the same names in every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperGroup

from emrdiff_cli.cli.nearest import SuggestingCommand

if TYPE_CHECKING:
    from typing import Any

READ = "Input"
DECLARED = "What the input does not say"
METHOD = "Method"
GEOMETRY = "Geometry and response"
SCORES = "Scores"
LEARNING = "Training"
WRITTEN = "Output"
VALUES = "Values of the output"
BESIDE = "Also written"
COMPUTING = "Tiles, memory and device"
ARCHIVE = "Archive"
CLUSTER = "Cluster"
SAID = "Messages"

PANELS = (
    *(READ, DECLARED, METHOD, GEOMETRY, SCORES, LEARNING, WRITTEN, VALUES, BESIDE),
    *(COMPUTING, ARCHIVE, CLUSTER, SAID),
)
"""All of them, in the order in which they are shown."""

_FEW = 8  # options that need no panels


class PanelledCommand(SuggestingCommand):
    """A command whose help shows its options by panels, where they are many; arguments come first."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters in the order of their panels."""
        params: Any = super().get_params(ctx)
        options = [param for param in params if param.param_type_name == "option"]
        for option in options:
            _without_type_of_flags(option)
            option.rich_help_panel = _panel_of(option) if len(options) > _FEW else None
        return sorted(params, key=_rank)


class PlainGroup(TyperGroup):
    """The command with its subcommands."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters as they are."""
        params = super().get_params(ctx)
        for param in params:
            _without_type_of_flags(param)
        return params


def _without_type_of_flags(param: Any) -> None:
    """Have the help of a flag show no type: it reads as if the flag took a value."""
    if getattr(param, "is_flag", False) and param.metavar is None:
        param.metavar = ""


def _panel_of(option: Any) -> str | None:
    """The panel of an option as it was declared; that of `--help`, which Typer adds, is the last."""
    panel: str | None = getattr(option, "rich_help_panel", None)
    return SAID if option.name == "help" else panel


def _rank(param: Any) -> int:
    panel = getattr(param, "rich_help_panel", None)
    return PANELS.index(panel) if panel in PANELS else -1

"""Values that a shell completes, known without opening a file; where none fits it completes files' names."""

from __future__ import annotations

from collections.abc import Iterable


def mask_classes(incomplete: str) -> list[str]:
    """The classes of --mask, after those that stand before the last comma."""
    from emrdiff_cli.products.mask_classes import CLASSES

    given, comma, begun = incomplete.rpartition(",")
    left = [name for name in CLASSES if name not in given.split(",")]
    return [given + comma + name for name in _beginning(begun, left)]


def responses(incomplete: str) -> list[str]:
    """What --srf takes beside files."""
    from emrdiff_cli.responses import built_in

    return _beginning(incomplete, [*built_in(), "metadata", "estimate"])


def guide_pages(incomplete: str) -> list[str]:
    """The guide's pages."""
    from emrdiff_cli.guide import PAGES

    return _beginning(incomplete, PAGES)


def shipped_models(incomplete: str) -> list[str]:
    """The shipped models."""
    from emrdiff_cli.zoo import shipped

    return _beginning(incomplete, (model.name for model in shipped()))


def _beginning(begun: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(begun)]

"""The chain between end point and HR-HSI, its conditioning and its training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emrdiff_cli.core.diffusion.chain import eta_schedule, forward_marginal, sample

__all__ = ["eta_schedule", "forward_marginal", "sample"]


def __getattr__(name: str) -> object:
    # Conditioning is needed without torch, which the chain imports.
    if name in __all__:
        return getattr(import_module("emrdiff_cli.core.diffusion.chain"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

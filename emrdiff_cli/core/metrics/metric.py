"""The record of a metric: what every table, file and limit of scores knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """A score's `key` in JSON, CSV and limits, its `name` and `unit` for people, and which values are better.

    `unit` is empty for a number without one; `convention` is the formula, with its range, windows and scale.
    """

    key: str
    name: str
    unit: str
    better: Better
    convention: str

    @property
    def title(self) -> str:
        """The name, with the unit where there is one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

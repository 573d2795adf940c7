"""The record of a metric: what every table, file and limit of scores knows of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]

_MOST_DECIMALS = 9
_DIGITS = 4  # of the least value of a row, where the unit tells no decimals


@dataclass(frozen=True)
class Metric:
    """A score's `key` in JSON, CSV and limits, its `name` and `unit` for people, and which values are better.

    `unit` is empty for a number without one; `convention` is the formula, with its range, windows and scale, and
    `meaning` what the score says of a cube, in a line. `decimals`: those that are shown; None: by the values.
    """

    key: str
    name: str
    unit: str
    better: Better
    convention: str
    meaning: str
    decimals: int | None = None

    @property
    def title(self) -> str:
        """The name, with the unit where there is one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def texts(
        self, values: Sequence[float | None], *, none: str = "\u2013", infinite: str = "\u221e"
    ) -> list[str]:
        """Values that stand in one row or column, with the same decimals; `none` for what is undefined.

        More decimals than usual where the least value would keep fewer than two digits.
        """
        finite = [abs(value) for value in values if value is not None and math.isfinite(value) and value]
        decimals = self._decimals_of(min(finite, default=1.0))

        def text(value: float | None) -> str:
            if value is None or math.isnan(value):
                return none
            if math.isinf(value):
                return infinite if value > 0 else f"-{infinite}"
            return f"{value:.3e}" if decimals > _MOST_DECIMALS else f"{value + 0.0:.{decimals}f}"

        return [text(value) for value in values]

    def _decimals_of(self, least: float) -> int:
        power = math.floor(math.log10(least))
        if self.decimals is None:
            return max(0, _DIGITS - 1 - power)
        return max(self.decimals, 1 - power)

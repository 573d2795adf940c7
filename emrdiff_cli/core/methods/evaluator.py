"""Evaluation of a fit at HR pixels, which goes with their number: on the processor, or by whoever is handed in."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.colour_kernel import COLUMNS_AT_ONCE, ColourKernel, features_seen
from emrdiff_cli.core.methods.detail_injection import DetailInjection, EndPointTile, Fitted, local_detail
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]


class Evaluator(Protocol):
    """Evaluates fits at HR pixels; all evaluators give the same but for rounding."""

    @property
    def device(self) -> str:
        """Where the work is done, as `--device` names it."""
        ...

    @property
    def columns_at_once(self) -> int:
        """HR columns of few rows that `features_seen` is best given."""
        ...

    def tile(self, fitted: Fitted, msi: Floats, rows: Taps, cols: Taps) -> EndPointTile:
        """The end point of a tile; see `Fitted`."""
        ...

    def detail(
        self, fitted: DetailInjection, msi: Floats, rows: Taps, cols: Taps
    ) -> tuple[Field, Field | None]:
        """The local slopes' detail (k, H, W) of a tile and the colour's prediction, None without one."""
        ...

    def features_seen(
        self, kernel: ColourKernel, msi: Floats, around: Floats, by_row: Field, by_column: Field
    ) -> Field:
        """As `colour_kernel.features_seen`."""
        ...


class OnProcessor:
    """Evaluates with NumPy."""

    device = "cpu"
    columns_at_once = COLUMNS_AT_ONCE

    def tile(self, fitted: Fitted, msi: Floats, rows: Taps, cols: Taps) -> EndPointTile:
        """The end point of a tile; see `Fitted`."""
        return fitted.tile(msi, rows, cols)

    def detail(
        self, fitted: DetailInjection, msi: Floats, rows: Taps, cols: Taps
    ) -> tuple[Field, Field | None]:
        """The local slopes' detail (k, H, W) of a tile and the colour's prediction, None without one."""
        local = local_detail(fitted, msi - apply_taps(fitted.msi, rows, cols), rows, cols)
        return local, None if fitted.colour is None else fitted.colour.predict(msi, rows, cols)

    def features_seen(
        self, kernel: ColourKernel, msi: Floats, around: Floats, by_row: Field, by_column: Field
    ) -> Field:
        """As `colour_kernel.features_seen`."""
        return features_seen(kernel, msi, around, by_row, by_column)


ON_PROCESSOR = OnProcessor()

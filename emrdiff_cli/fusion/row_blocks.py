"""Blocks of rows in which a scene is worked out: whole LR pixels high, the same for any area and any tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.sensor.possible_values import cell_numbers
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster_info import Window

Field = NDArray[np.float32]
Numbers = NDArray[np.intp]

_MOST_ROWS = 32  # expanded to all bands and handed to the writer at a time,
_LEAST_ROWS, _PIXELS_AT_ONCE = 8, 2**15  # and of wide scenes fewer, so many pixels


def rows_at_once(width: int) -> int:
    """Count of rows of a scene so wide, or of an LR pixel's if it has more, that are worked out together."""
    return min(_MOST_ROWS, max(_LEAST_ROWS, _PIXELS_AT_ONCE // width))


@dataclass(frozen=True)
class RowBlocks:
    """The blocks of a pair's common area, each of up to `rows_at_once`.

    An LR pixel's rows are not parted, but where it has very many of them.
    """

    pair: PairReader

    @cached_property
    def cell_rows(self) -> Numbers:
        """The cell of each HR row; an LR pixel's rows, or an equal part of too many."""
        return cell_numbers(self.pair.nearest_lr[0], _MOST_ROWS)

    @cached_property
    def cell_cols(self) -> Numbers:
        """The cell of each HR column: its LR column."""
        cols = self.pair.nearest_lr[1]
        return cell_numbers(cols, len(cols))

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """First row of each block and the one after its last, from the top."""
        begins = np.flatnonzero(np.diff(self.cell_rows, prepend=-1)).tolist()
        ends = [*begins[1:], len(self.cell_rows)]
        spans: list[tuple[int, int]] = []
        most = rows_at_once(len(self.cell_cols))
        for begin, end in zip(begins, ends, strict=True):
            if spans and end - spans[-1][0] <= most:
                spans[-1] = spans[-1][0], end
            else:
                spans.append((begin, end))
        return spans

    def over(self, area: Window) -> list[tuple[int, int]]:
        """The blocks that reach into an area."""
        return [span for span in self.spans if span[0] < area.rows.stop and span[1] > area.row]

    def around(self, area: Window) -> Window:
        """The area made up to whole cells."""
        (top, bottom), (left, right) = (
            _whole(cells, part) for cells, part in ((self.cell_rows, area.rows), (self.cell_cols, area.cols))
        )
        return Window(top, left, bottom - top, right - left)

    def cut(self, rows: Iterable[tuple[int, Field]], area: Window) -> Iterator[tuple[int, Field]]:
        """Rows (k, n, W) that follow each other, with the number of the first of each, as an area's blocks.

        Rows of a block that are not given are 0.
        """
        wanted = iter(self.over(area))
        block = next(wanted, None)
        held: Field | None = None
        first = 0
        for top, values in rows:
            if held is None:
                first = top if block is None else min(top, block[0])
                held = values if first == top else np.pad(values, ((0, 0), (top - first, 0), (0, 0)))
            else:
                held = np.concatenate([held, values], axis=1) if held.shape[1] else values
            del values
            while block is not None and block[1] <= first + held.shape[1]:
                yield block[0], held[:, block[0] - first : block[1] - first]
                held, first = held[:, block[1] - first :], block[1]
                block = next(wanted, None)
        if block is not None and held is not None:
            given = held[:, block[0] - first :]
            yield block[0], np.pad(given, ((0, 0), (0, block[1] - block[0] - given.shape[1]), (0, 0)))


def _whole(cells: Numbers, part: slice) -> tuple[int, int]:
    """The first pixel of the cells that a part of an axis lies in, and the one after their last."""
    reached = cells[part]
    if not len(reached):
        return part.start, part.stop
    first, after = np.searchsorted(cells, (reached[0], reached[-1] + 1))
    return int(first), int(after)

"""Orientation of an image in a stored matrix: turned, mirrored or as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

OrientationName = Literal["as-stored", "rot90", "rot180", "rot270", "transpose"]


@dataclass(frozen=True)
class Orientation:
    """The image from the matrix: rows and columns change places if `swapped`, then either may run backwards.

    image[i, j] = matrix[i', j'], or matrix[j', i'] if `swapped`, where i' = height - 1 - i with `flip_rows`
    and j' = width - 1 - j with `flip_cols`; height and width are the image's.
    """

    swapped: bool = False
    flip_rows: bool = False
    flip_cols: bool = False

    def apply(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Give the image, a view of the matrix; of arrays with more axes, the last two are the image's."""
        turned = matrix.swapaxes(-2, -1) if self.swapped else matrix
        rows, cols = (slice(None, None, -1 if flip else 1) for flip in (self.flip_rows, self.flip_cols))
        return turned[..., rows, cols]


AS_STORED = Orientation()
ORIENTATIONS: dict[OrientationName, Orientation] = {
    "as-stored": AS_STORED,
    # Counterclockwise, as numpy.rot90 and Matlab's rot90 have it.
    "rot90": Orientation(swapped=True, flip_rows=True),
    "rot180": Orientation(flip_rows=True, flip_cols=True),
    "rot270": Orientation(swapped=True, flip_cols=True),
    "transpose": Orientation(swapped=True),
}

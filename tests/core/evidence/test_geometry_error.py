"""What a wrong displacement or width of the PSF does to LR pixels, against waves whose LR image is known."""

from __future__ import annotations

import numpy as np
import pytest

from emrdiff_cli.core.evidence.geometry_error import GeometryErrors
from emrdiff_cli.core.sensor.srf import FWHM_PER_SIGMA

CALM, STEEP = 0.15, 0.25  # of the waves along rows and columns, radians in an LR pixel


def seen(
    move: float = 0.0, width: float = 1.0, axis: int = 0
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A wave along an axis (1, 40, 40), moved, and damped as a Gaussian PSF of FWHM `width` LR pixels damps it."""
    wave, places = (CALM, STEEP)[axis], np.arange(40.0)
    sigma = width / FWHM_PER_SIGMA
    line = np.exp(-0.5 * np.square(wave * sigma)) * np.sin(wave * (places + move) + 0.4)
    return np.asarray(np.broadcast_to(line[:, None] if axis == 0 else line, (1, 40, 40)))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("move", "width"), [(0.02, 0.0), (0.0, 0.03)])
def test_it_is_the_difference_that_the_error_makes(axis: int, move: float, width: float) -> None:
    along = tuple((move if axis == at else 0.0) for at in (0, 1))
    wider = tuple((width if axis == at else 0.0) for at in (0, 1))
    errors = GeometryErrors.of(seen(axis=axis), (along[0], along[1]), (1.0, 1.0), (wider[0], wider[1]))
    assert errors is not None
    inner = np.s_[:, 1:-1, 1:-1]
    made = (seen(move, 1 + width, axis) - seen(axis=axis))[inner]
    np.testing.assert_allclose(np.sqrt(errors.squares())[inner], np.abs(made), atol=0.03 * np.abs(made).max())
    normal = [0.0, 0.0, 0.0, 0.0]
    normal[axis + (2 if width else 0)] = -2.0
    drawn = errors.drawn(normal)[inner]
    assert abs(np.corrcoef(drawn.ravel(), made.ravel())[0, 1]) > 0.999
    np.testing.assert_allclose(np.abs(drawn), 2 * np.abs(made), atol=0.06 * np.abs(made).max())


def test_nothing_is_known_of_a_geometry_that_was_given() -> None:
    assert GeometryErrors.of(seen(), None, (1.0, 1.0), None) is None
    only_width = GeometryErrors.of(seen(), None, (1.0, 1.0), (0.1, 0.0))
    assert only_width is not None
    assert only_width.move == (0.0, 0.0)

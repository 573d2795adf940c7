"""A scene's end point: the spectral basis, a method fitted in its coefficients, and the LR-HSI outside of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any, cast, get_type_hints

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays, let_go
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.detail_injection import Fitted
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strips
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from emrdiff_cli.core.subspace import BANDS_AT_ONCE, Basis, find_image_basis, identity_basis
from emrdiff_cli.methods import METHODS, EndPoint

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

_OWN_COMPONENTS = 32


@dataclass(frozen=True)
class SceneEndPoint:
    """A scene's end point: a method fitted in the coefficients of a spectral basis.

    `msi` (m, h, w) is Z down, `unexplained` (k, h, w) the residual of the scene-wide map, `outside` (B, h, w)
    the LR-HSI outside the basis, None where that is nothing.
    """

    method: EndPoint
    basis: Basis
    fitted: Fitted
    msi: Field
    unexplained: Field
    outside: Field | None

    @property
    def channels(self) -> int:
        """Channels k that are fused."""
        return len(self.unexplained)

    def bands(self, msi: Floats, rows: Taps, cols: Taps) -> Field:
        """All bands (B, H, W) of a tile's end point; its MSI (m, H, W) and LR -> HR as in `Fitted.tile`."""
        values = self.basis.expand(self.fitted.tile(msi, rows, cols).values)
        if self.outside is not None:
            values += apply_taps(self.outside, rows, cols)
        return values


def choose_basis(scene: LrScene, subspace: int, used: NDArray[np.bool_] | None = None) -> Basis:
    """The leading directions of the LR-HSI's valid pixels; `subspace` 0, or B, keeps all bands.

    Bands that are not `used` (B,; None: all are) lie outside of the directions.
    """
    if subspace in (0, len(scene.hsi)):
        return identity_basis(len(scene.hsi))
    return find_image_basis(scene.hsi, scene.valid, subspace, used)


def own_basis(scene: LrScene) -> Basis:
    """The scene's own directions, those that a method is fitted in which works in a subspace."""
    size = min(_OWN_COMPONENTS, int(scene.valid.sum()) - 1)
    return choose_basis(scene, size if 0 < size < len(scene.hsi) else 0)


def find_end_point(
    scene: LrScene,
    strips: Strips,
    resampling: Resampling,
    method: EndPoint,
    basis: Basis,
    covariance: Covariance = USUAL,
    agreeing: bool = True,
    large: LargeArrays = IN_MEMORY,
    evaluator: Evaluator = ON_PROCESSOR,
) -> SceneEndPoint:
    """Fit the end point on the LR pixels, in the coefficients of a basis; `covariance` is a kriging's.

    `agreeing`: whether kriging's detail is made to agree with the MSI; that which models start from is not.
    `large`: where what grows with the scene is put; `evaluator`: who works at HR pixels.
    """
    lr = scene.hsi if basis.is_identity else large.kept(basis.project(scene.hsi))
    let_go(lr)
    in_basis = replace(scene, hsi=lr)
    linear = regress(in_basis, large)
    to_fit = SceneToFit(in_basis, strips, resampling, linear, covariance, agreeing, large, evaluator)
    fitted = fit_method(method, to_fit)
    outside = None if basis.is_full else _outside(scene.hsi, lr, basis, large)
    msi = np.asarray(scene.msi, np.float32)
    return SceneEndPoint(method, basis, fitted, msi, linear.unexplained, outside)


def _outside(hsi: Floats, channels: Floats, basis: Basis, large: LargeArrays) -> Field:
    """What the coefficients (k, h, w) of an image (B, h, w) leave of it, worked out by bands."""
    outside = large.zeros(hsi.shape)
    for start in range(0, len(hsi), BANDS_AT_ONCE):
        bands = slice(start, start + BANDS_AT_ONCE)
        for row in range(hsi.shape[1]):
            outside[bands, row] = hsi[bands, row] - basis.expand(channels[:, row], bands)
        let_go(outside, hsi, channels)
    return outside


def fit_method(method: EndPoint, scene: SceneToFit) -> Fitted:
    """A method fitted to a scene's channels; raises ValueError for one that needs a model."""
    return _fit_of(method)(scene)


def fitted_class(method: EndPoint) -> type[Fitted]:
    """The class of a method's fit."""
    return cast(type[Fitted], get_type_hints(_fit_of(method))["return"])


def _fit_of(method: EndPoint) -> Callable[[SceneToFit], Fitted]:
    """The function that fits a method; raises ValueError for one that needs a model."""
    place = METHODS[method].fit
    if place is None:
        raise ValueError(f"{method} has no end point of its own")
    return cast(Callable[[SceneToFit], Fitted], resolve_name(place))

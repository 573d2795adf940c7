"""Area-to-point kriging of the residual that the scene-wide map leaves of the LR-HSI (Kyriakidis 2004).

The residual is a Gaussian process of a pixel's place, its colour and its MSI (see Covariance). An LR pixel is an
area, the mean of its HR pixels under the PSF, and so are its covariates: materials that are mixed in it are told
apart by the features of their colours, as a regression on the mixed colour cannot. A block of LR pixels is solved
with a halo around it for the weights alpha = (K + nugget I)^-1 y; the prediction at HR is linear in the features,
with weights that are kept at nodes and are linear between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays, let_go
from emrdiff_cli.core.methods.colour_term import NODE_SPACING, node_place, nodes_in
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.kriging_block import BLOCK, Block
from emrdiff_cli.core.methods.texture import common_texture_share, texture_share
from emrdiff_cli.core.side_by_side import side_by_side

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

_HALO = 6  # LR pixels around a block that it is solved with
_SAMPLED = 16  # blocks by which the slopes' prior and the nuggets are chosen
_LEAST_SPREAD = 1e-30
_LET_GO = 4 * BLOCK  # rows of LR pixels that are touched before they are let go of


@dataclass(frozen=True)
class KrigingData:
    """The residual at LR and its covariates.

    `residual` (k, h, w); `spread` (k,), the channels' standard deviations in the LR-HSI; `msi` (m, h, w) along
    axes of unit variance; `features` of colour (n, h, w), the means of the HR pixels' under the PSF;
    `whitening` (n, n), to features whose products are the colour kernel; `valid` (h, w); `overlap`, the correlation
    of white HR texture between LR pixels by their distance along rows and along columns (core.texture);
    `brightness` (h, w), the MSI's, 1 in the mean; `axes` (m, m) from the MSI's bands to those of `msi`, None where
    it is on the bands.
    """

    residual: Floats
    spread: Floats
    msi: Floats
    features: Floats
    whitening: Doubles
    valid: NDArray[np.bool_]
    overlap: tuple[Doubles, Doubles]
    brightness: Floats
    axes: Field | None = None


class Kriged(NamedTuple):
    """The predictor: `weights` (rows, columns, n, k) of the features at nodes, `slopes` (k, m, h, w) at LR.

    `texture` (k,): the share of each channel's nugget that is texture of the HR scene, not noise; `shape`
    (k, h, w), the slopes on the brightness at LR.
    """

    weights: Field
    slopes: Field
    texture: Field
    shape: Field


def krige(
    data: KrigingData,
    covariance: Covariance = USUAL,
    sampled: int = _SAMPLED,
    kept: Floats | None = None,
    large: LargeArrays = IN_MEMORY,
) -> Kriged:
    """The predictor of the residual from the valid LR pixels; nuggets and texture are told by so many blocks.

    `kept` (k, k): what the predicted channels are multiplied by. `large`: where weights and slopes are put.
    """
    return predictor(GaussianProcess.likeliest(data, covariance, sampled), sampled, kept, large)


def predictor(
    field: GaussianProcess,
    sampled: int = _SAMPLED,
    kept: Floats | None = None,
    large: LargeArrays = IN_MEMORY,
) -> Kriged:
    """The predictor of a field's residual; `kept` (k, k) and `large` as for `krige`."""
    data = field.data
    mixing = np.eye(len(data.residual)) if kept is None else kept
    own_axes = np.eye(len(data.msi)) if data.axes is None else data.axes
    on_channels, on_bands = mixing.T.astype(np.float32), own_axes.T.astype(np.float32)
    k, (height, width) = len(data.residual), data.valid.shape
    nodes = (-(-height // NODE_SPACING), -(-width // NODE_SPACING))
    weights = large.zeros((*nodes, len(data.features), k))
    slopes = large.zeros((k, len(data.msi), height, width))
    shape = large.zeros((k, height, width))

    def predict(top: int) -> None:
        whitened = field.whitened(top)
        for left in range(0, width, BLOCK):
            block = field.block(top, left, whitened=whitened)
            if not len(block.places):
                continue
            # Linear in the weights: so mixed, they predict what is mixed of the channels.
            alpha = (block.alpha(field.nuggets) * field.spread).astype(np.float32) @ on_channels
            inside = list(nodes_in(top, left, nodes))
            places = np.array([[node_place(row), node_place(col)] for row, col in inside]).reshape(-1, 2)
            at_nodes = block.feature_weights(places, alpha)
            found = data.whitening.T @ at_nodes.reshape(len(at_nodes), -1)
            for number, node in enumerate(inside):
                weights[node] = found[:, number * k : (number + 1) * k]
            on_axes = block.slopes(alpha)
            of_bands = on_bands @ on_axes.reshape(*on_axes.shape[:2], -1)
            slopes[:, :, *block.core] = of_bands.reshape(on_axes.shape)
            if field.covariance.shape_sill:
                shape[:, *block.core] = block.shape(alpha)
        if top % _LET_GO == 0:
            let_go(weights, slopes, shape, data.features, data.residual)

    side_by_side(predict, range(0, height, BLOCK))
    return Kriged(weights, slopes, field.texture(sampled).astype(np.float32), shape)


@dataclass(frozen=True)
class GaussianProcess:
    """The data under a covariance whose slopes have one `slope_prior` (sill, range); `nuggets` (k,), inflated."""

    data: KrigingData
    covariance: Covariance
    slope_prior: tuple[float, float]
    nuggets: Doubles

    @classmethod
    def likeliest(
        cls, data: KrigingData, covariance: Covariance = USUAL, sampled: int = _SAMPLED
    ) -> GaussianProcess:
        """The slopes' prior under which the channels together are likeliest, and each channel's nugget.

        By about so many blocks spread over the scene.
        """
        tried = [cls(data, covariance, prior, np.empty(0)) for prior in covariance.slopes]
        found = [process.deviances(sampled) for process in tried]
        best = int(np.argmin([deviance.min(axis=0).sum() for deviance in found]))
        nuggets = np.take(covariance.nuggets, found[best].argmin(axis=0))
        return cls(
            data, covariance, covariance.slopes[best], np.asarray(covariance.nugget_inflation * nuggets)
        )

    @property
    def spread(self) -> Floats:
        """Standard deviations (k,) that nothing is divided by zero by."""
        return np.maximum(self.data.spread, _LEAST_SPREAD)

    def whitened(self, top: int, halo: int = _HALO) -> Doubles:
        """The whitened features (n, rows, w) of the blocks at `top` and of their halo."""
        features = self.data.features[:, max(0, top - halo) : top + BLOCK + halo]
        flat = self.data.whitening @ features.reshape(len(features), -1)
        return np.asarray(flat.reshape(features.shape))

    def block(self, top: int, left: int, halo: int = _HALO, whitened: Doubles | None = None) -> Block:
        """The valid LR pixels of the block at (top, left) and of its halo; `whitened`: its row's, if known."""
        data, (height, width) = self.data, self.data.valid.shape
        rows, cols = around = (
            slice(max(0, top - halo), min(top + BLOCK + halo, height)),
            slice(max(0, left - halo), min(left + BLOCK + halo, width)),
        )
        valid = data.valid[around]

        def taken(image: Floats) -> Doubles:
            """The valid pixels (..., N) of an image (..., h, w) of the window."""
            part = image.reshape(*image.shape[:-2], -1) if valid.all() else image[..., valid]
            return part.astype(np.float64)

        if whitened is None:
            features = data.whitening @ taken(data.features[:, rows, cols])
        else:
            features = taken(whitened[:, :, cols])
        return Block(
            covariance=self.covariance,
            slope_prior=self.slope_prior,
            core=(slice(top, min(top + BLOCK, height)), slice(left, min(left + BLOCK, width))),
            window=around,
            places=np.argwhere(valid).astype(np.float64) + np.array([rows.start, cols.start]),
            residual=taken(data.residual[:, rows, cols]) / self.spread[:, None],
            msi=taken(data.msi[:, rows, cols]),
            features=features,
            brightness=taken(data.brightness[rows, cols]),
        )

    def deviances(self, sampled: int = _SAMPLED) -> Doubles:
        """Minus twice the log likelihood (nuggets, k) of each channel, its variance profiled out."""
        nuggets = np.array(self.covariance.nuggets)
        chosen = corners(self.data.valid)

        def of_block(corner: tuple[int, int]) -> tuple[Doubles, Doubles, int]:
            """Squares y' (K + nugget I)^-1 y (nuggets, k), log determinants (nuggets,), and the count of pixels."""
            block = self._sampled_block(corner)
            squares, logs = np.zeros((len(nuggets), len(self.data.residual))), np.zeros(len(nuggets))
            for factor in block.factors(nuggets) if len(block.places) else ():
                squares[factor.channels] = np.square(factor.whiten(block.residual.T)).sum(axis=0)
                logs[factor.channels] = factor.log_determinant
            return squares, logs, len(block.places)

        found = side_by_side(of_block, chosen[:: max(1, len(chosen) // sampled)])
        squares, logs, count = (sum(parts) for parts in zip(*found, strict=True))
        return np.asarray(count * np.log(np.maximum(squares, 1e-300)) + logs[:, None])

    def texture(self, sampled: int = _SAMPLED) -> Doubles:
        """The share (k,) of each channel's nugget that is texture, from half as many blocks."""
        share, told = np.ones(len(self.nuggets)), self._more_than_exact
        if told.any():
            blocks = self._blocks_of_texture(sampled)
            share[told] = texture_share(blocks, self.nuggets, self.data.overlap, self.covariance)[told]
        return share

    def common_texture(self, sampled: int = _SAMPLED) -> Doubles:
        """The share (k,) of the nuggets that is texture, told by all channels together.

        Channels whose nuggets are too small to tell have all of it, the less the more channels can tell.
        """
        share, told = np.ones(len(self.nuggets)), self._more_than_exact
        if told.any():
            blocks = [
                replace(block, residual=block.residual[told]) for block in self._blocks_of_texture(sampled)
            ]
            common = common_texture_share(blocks, self.nuggets[told], self.data.overlap, self.covariance)
            share[told], share[~told] = common, 1 - told.mean() * (1 - common)
        return share

    @property
    def _more_than_exact(self) -> NDArray[np.bool_]:
        """Channels (k,) whose nugget is more than an exact one's."""
        return np.asarray(self.nuggets > self.covariance.nugget_inflation * self.covariance.exact_nugget)

    def _blocks_of_texture(self, sampled: int) -> list[Block]:
        chosen = corners(self.data.valid)
        return [self._sampled_block(corner) for corner in chosen[:: max(1, len(chosen) // (sampled // 2))]]

    def _sampled_block(self, corner: tuple[int, int]) -> Block:
        """A block whose neighbours are not asked for next."""
        block = self.block(*corner)
        let_go(self.data.features, self.data.residual)
        return block


def corners(valid: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The top left pixels of a scene's blocks that have a valid one; of all where none has."""
    height, width = valid.shape
    every = list(product(range(0, height, BLOCK), range(0, width, BLOCK)))
    return [
        (top, left) for top, left in every if valid[top : top + BLOCK, left : left + BLOCK].any()
    ] or every

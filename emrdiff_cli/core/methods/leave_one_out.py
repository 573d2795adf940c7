"""Kriging's leave-one-out residuals: what is wrong at an LR pixel that kriging does not see.

With the weights alpha = K^-1 y of a block, K the covariance with its nugget, the prediction of pixel i from all
others misses it by r_i = alpha_i / [K^-1]_ii, with variance 1 / [K^-1]_ii (Dubrule 1983): nothing is solved twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit
from emrdiff_cli.core.methods.kriged_detail import prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess, corners
from emrdiff_cli.core.methods.kriging_block import Block
from emrdiff_cli.core.side_by_side import side_by_side

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LeaveOneOut:
    """Residuals and their standard deviations (k, h, w), in the channels' units; NaN where nothing is known.

    A residual is the LR-HSI minus what the other LR pixels predict there. The deviation is that of an
    observation, noise included, the covariance scaled to each channel by its likeliest variance.
    """

    residual: Field
    deviation: Field

    @property
    def known(self) -> Mask:
        """LR pixels (h, w) with a residual: the valid ones of the blocks that were sampled."""
        return np.asarray(np.isfinite(self.residual[0]))


def leave_one_out(
    scene: SceneToFit, covariance: Covariance = USUAL, blocks: int | None = None
) -> LeaveOneOut:
    """The residuals of the kriging that `fit_kriging` does; see `leave_one_out_of`."""
    data = prepare_kriging(scene, covariance).data
    return leave_one_out_of(GaussianProcess.likeliest(data, covariance), blocks)


def leave_one_out_of(field: GaussianProcess, blocks: int | None = None) -> LeaveOneOut:
    """The residuals at the valid LR pixels, or at those of about so many blocks spread over the scene."""
    data = field.data
    residual, deviation = np.full((2, *data.residual.shape), np.nan, np.float32)

    def of_block(corner: tuple[int, int]) -> tuple[Doubles, int]:
        """Squares y' K^-1 y (k,) and the count of the pixels; notes the core's residuals."""
        block = field.block(*corner)
        if not len(block.places):
            return np.zeros(len(data.residual)), 0
        alpha, precision = _weights(block, field.nuggets)
        core = block.in_core()
        rows, cols = block.places[core].astype(np.intp).T
        residual[:, rows, cols] = (alpha[core] / precision).T * field.spread[:, None]
        deviation[:, rows, cols] = (1 / np.sqrt(precision)).T * field.spread[:, None]
        return np.einsum("kn,nk->k", block.residual, alpha), len(alpha)

    chosen = corners(data.valid)
    step = 1 if blocks is None else max(1, len(chosen) // blocks)
    squares, count = (sum(parts) for parts in zip(*side_by_side(of_block, chosen[::step]), strict=True))
    deviation *= np.sqrt(squares / max(count, 1)).astype(np.float32)[:, None, None]
    return LeaveOneOut(residual, deviation)


def _weights(block: Block, nuggets: Doubles) -> tuple[Doubles, Doubles]:
    """The weights alpha (N, k) of a block's pixels, and the core's diagonal (n, k) of K^-1."""
    alpha = np.empty_like(block.residual.T)
    core = np.flatnonzero(block.in_core())
    precision = np.empty((len(core), len(nuggets)))
    ones = np.zeros((len(alpha), len(core)))
    ones[core, np.arange(len(core))] = 1
    for factor in block.factors(nuggets):
        alpha[:, factor.channels] = factor.solve(block.residual[factor.channels].T)
        precision[:, factor.channels] = np.square(factor.whiten(ones)).sum(axis=0)[:, None]
    return alpha, precision

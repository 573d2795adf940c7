"""Kriging by a learned kernel as a function that torch can differentiate, on a pair with a truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrdiff_cli.core.methods.colour_kernel import centre_of, cover, neighbourhood_of
from emrdiff_cli.core.methods.covariance import USUAL
from tests.benchmarks.learned.kernel import OWN, leading
from tests.benchmarks.learned.kriged_scene import AXES, KrigedPair
from tests.benchmarks.learned.residual import COMPONENTS

Floats = NDArray[np.floating[Any]]

_SCORED = 2048  # HR pixels of a pair, at most
_CANDIDATES = 1500  # HR pixels that landmarks are chosen among
_JITTER = 1e-6  # on the landmarks' variances


@dataclass(frozen=True)
class Problem:
    """A pair to learn from: N LR pixels of h x w, P HR pixels, all of H x W, k components and m MSI bands.

    The kernel's own `places` (2 m, P) and `amplitude` (P,), of which rows `leading` (a,) are moved, with `signs`
    (a,). `seen` (SEEN, H, W). At LR `msi` (m, h w), on unit axes, `down_rows` (h, H) and `down_cols` (w, W); the
    pixels `known` (N,) have `residual` (k, N), in units of `spread` (k,). Errors are counted at HR pixels `scored`
    (S,), in `place` (2, S), LR pixels, upsampled by `up_rows` (S, h) and `up_cols` (S, w), of `fine_msi` (m, S):
    there kriging misses `missed` (k, S), has the detail `own` (k, S) by its own kernel, and of what is added `kept`
    (k, k) is. `slope_prior` (2,): sill and range.
    """

    seen: Tensor
    places: Tensor
    amplitude: Tensor
    leading: Tensor
    signs: Tensor
    known: Tensor
    residual: Tensor
    spread: Tensor
    msi: Tensor
    down_rows: Tensor
    down_cols: Tensor
    scored: Tensor
    place: Tensor
    up_rows: Tensor
    up_cols: Tensor
    fine_msi: Tensor
    missed: Tensor
    own: Tensor
    kept: Tensor
    slope_prior: Tensor

    @classmethod
    def of(cls, kriged: KrigedPair) -> Problem:
        """The problem of a pair."""
        k = slice(0, COMPONENTS)
        scene, msi = kriged.kriged, kriged.pair.hr_msi
        found, up = scene.posterior, scene.scene.resampling.up
        data = found.field.data
        pixels, around = (
            image.reshape(len(msi), -1) for image in (msi, neighbourhood_of(found.neighbourhood, *up))
        )
        count = pixels.shape[1]
        scored = np.random.default_rng(0).permutation(count)[:_SCORED]
        rows, cols = np.unravel_index(scored, msi.shape[1:])
        moved, signs = leading(found.kernel)
        kept = np.eye(len(scene.mean)) if scene.agreement is None else scene.agreement.kept
        (down_rows, down_cols), (up_rows, up_cols) = (
            [taps.matrix(0, taps.n_in) for taps in maps] for maps in (scene.scene.resampling.down, up)
        )
        spread = found.field.spread[k]
        problem = cls(
            seen=_float32(scene.seen).half(),
            places=_float32(found.kernel.places(pixels, around)),
            amplitude=_float32(found.kernel.brightness_factor(pixels)),
            leading=torch.from_numpy(moved.copy()),
            signs=_float32(signs),
            known=torch.from_numpy(np.flatnonzero(data.valid)),
            residual=_float32(data.residual[k][:, data.valid] / spread[:, None]),
            spread=_float32(spread),
            msi=_float32(data.msi).flatten(1),
            down_rows=_float32(down_rows),
            down_cols=_float32(down_cols),
            scored=torch.from_numpy(scored),
            place=_float32(np.stack([centre_of(up[0])[rows], centre_of(up[1])[cols]])),
            up_rows=_float32(up_rows[rows]),
            up_cols=_float32(up_cols[cols]),
            fine_msi=_float32(found.axes @ (pixels[:, scored] - found.centre[:, None])),
            missed=_float32((kriged.truth[k] - scene.mean[k]).reshape(len(spread), -1)[:, scored]),
            own=torch.zeros(len(spread), len(scored)),
            kept=_float32(kept[k, k]),
            slope_prior=torch.tensor(found.field.slope_prior),
        )
        with torch.no_grad():
            problem.own.copy_(problem.detail(None))
        return problem

    @classmethod
    def kept_as(cls, *tensors: Tensor) -> Problem:
        """That of its tensors."""
        return cls(*tensors)

    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, to keep."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def loss(self, net: nn.Module, rng: np.random.Generator) -> tuple[Tensor, float]:
        """The error by kriging's, what is lost counted twice, and the gain in dB.

        What is seen is turned, and the signs of its colours' axes are drawn.
        """
        turns, flipped = int(rng.integers(4)), bool(rng.integers(2))
        drawn = torch.from_numpy(rng.choice([-1.0, 1.0], AXES)).float()[:, None, None]
        seen = self.seen.float()
        seen = torch.cat([seen[:AXES] * drawn, seen[AXES : 2 * AXES] * drawn, seen[2 * AXES :]])
        seen = seen.flip(-1) if flipped else seen
        answers = net(seen.rot90(turns, (-2, -1))[None])[0].rot90(-turns, (-2, -1))
        answers = answers.flip(-1) if flipped else answers
        answers = torch.cat([answers[:AXES] * drawn, answers[AXES:]])
        added = self.kept @ ((self.detail(answers) - self.own) * self.spread[:, None])
        before = self.missed.square().mean(1).clamp(min=1e-30)
        share = before.sqrt() / before.sqrt().sum()
        after = ((self.missed - added).square().mean(1) / before * share).sum()
        gain = -10 * math.log10(max(float(after.detach()), 1e-12))
        return after + (after - 1).clamp(min=0), gain

    def detail(self, answers: Tensor | None) -> Tensor:
        """(k, S): the predicted detail, by a network's answers (ANSWERS, H, W) or by kriging's own kernel."""
        place, amplitude = self.places, self.amplitude
        if answers is not None:
            flat = answers.flatten(1)
            along = self.signs[:, None] * flat[: len(self.leading)]
            place = torch.cat([place.index_add(0, self.leading, along), flat[AXES : AXES + OWN]])
            amplitude = amplitude * flat[-1].exp()
        features, whitening = _features(place, amplitude)
        h, w = len(self.down_rows), len(self.down_cols)
        image = features.view(len(features), self.down_rows.shape[1], self.down_cols.shape[1])
        degraded = (self.down_rows @ image @ self.down_cols.T).flatten(1)
        lr, fine = (whitening @ degraded.double()).float(), whitening.float() @ features[:, self.scored]
        apart = self._apart(torch.cartesian_prod(torch.arange(float(h)), torch.arange(float(w))).T)
        between = self._covariance(lr, self.msi, lr, apart)
        ground = USUAL.ground_sill * _near(apart[self.known], USUAL.ground_range)
        weights = _likeliest_weights(between[self.known] + ground, self.residual.T)
        at_lr = (between @ weights).T.view(-1, h, w)
        upsampled = torch.einsum("sh,khw,sw->ks", self.up_rows, at_lr, self.up_cols)
        return (self._covariance(fine, self.fine_msi, lr, self._apart(self.place)) @ weights).T - upsampled

    def _apart(self, place: Tensor) -> Tensor:
        """(n, N): squares of the distances of places (2, n) from the known LR pixels."""
        width = len(self.down_cols)
        known = torch.stack([self.known // width, self.known % width]).float()
        return torch.cdist(place.T, known.T).square()

    def _covariance(self, features: Tensor, msi: Tensor, lr: Tensor, apart: Tensor) -> Tensor:
        """(n, N) of pixels of such features and MSI with the known LR pixels, without the ground's.

        `lr` (.., h w), all LR pixels' features.
        """
        sill, reach = map(float, self.slope_prior)
        of_colour = USUAL.colour_sill * _near(apart, USUAL.colour_range) * (features.T @ lr[:, self.known])
        slopes = (sill * _near(apart, reach) + USUAL.common_slope_sill) * (msi.T @ self.msi[:, self.known])
        return of_colour + slopes


def _near(apart: Tensor, sigma: float) -> Tensor:
    return torch.exp(-0.5 / sigma**2 * apart)


def _features(place: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
    """Features (n, P) of pixels in places (d, P) of the colours, and what whitens them (n, n)."""
    with torch.no_grad():
        step = max(1, place.shape[1] // _CANDIDATES)
        landmarks = torch.from_numpy(cover(place[:, ::step].T.double().numpy(), 1.0))
        precise = landmarks.double()
        between = torch.exp(-0.5 * torch.cdist(precise, precise).square())
        one = torch.eye(len(between), dtype=torch.float64)
        whitening = torch.linalg.solve_triangular(
            torch.linalg.cholesky(between + _JITTER * one), one, upper=False
        )
    apart = landmarks @ place - 0.5 * (place.square().sum(0) + landmarks.square().sum(1, keepdim=True))
    return torch.exp(apart.clamp(max=0)) * amplitude, whitening


class _LikeliestWeights(torch.autograd.Function):
    """Weights (N, k) of targets (N, k) under a covariance (N, N) and each one's likeliest nugget, taken as given.

    By the covariance's eigenvectors, which solve for the derivative as well.
    """

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, targets: Tensor) -> Tensor:
        """The weights."""
        variances, directions = torch.linalg.eigh(covariance.double())
        variances = variances.clamp(min=0)
        along = directions.T @ targets.double()
        nuggets = torch.tensor(USUAL.nuggets, dtype=torch.float64)
        noisy = variances + nuggets[:, None]
        squares = (1 / noisy) @ along.square()
        deviance = len(targets) * squares.clamp(min=1e-300).log() + noisy.log().sum(1, keepdim=True)
        chosen = USUAL.nugget_inflation * nuggets[deviance.argmin(0)]
        by = 1 / (variances[:, None] + chosen)
        weights: Tensor = directions @ (along * by)
        ctx.save_for_backward(directions, by, weights)
        return weights.float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The derivative by the covariance."""
        directions, by, weights = ctx.saved_tensors
        solved = directions @ ((directions.T @ gradients[0].double()) * by)
        return -(solved @ weights.T).float(), None


_likeliest_weights = cast(Callable[[Tensor, Tensor], Tensor], _LikeliestWeights.apply)


def _float32(values: Floats) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32, order="C"))

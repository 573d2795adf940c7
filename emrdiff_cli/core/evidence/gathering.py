"""Evidence gathered on parts of a pair: every method under every kind, and kriging on pixels it does not see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.evidence.block_errors import BlockErrors
from emrdiff_cli.core.evidence.bootstrap import decibels, difference_db
from emrdiff_cli.core.evidence.covariance_choice import without_shape
from emrdiff_cli.core.evidence.held_out_band import held_out_bands, seen_by_hsi
from emrdiff_cli.core.evidence.misplacement import Derivatives, Misplacement
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.evidence.verdict import HELD_OUT, LeftOut, Score, Standing
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.kriged_detail import prepare_kriging
from emrdiff_cli.core.methods.kriging import GaussianProcess
from emrdiff_cli.core.methods.leave_one_out import leave_one_out_of
from emrdiff_cli.core.methods.scene_end_point import own_basis
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.observation import LrScene, Resampling, Strips
from emrdiff_cli.errors import InputError
from emrdiff_cli.methods import FAVOURITE, EndPoint

Doubles = NDArray[np.float64]

_MOST_HELD = 6  # MSI bands held out, spread over all
_HALF = 2.0  # the least that a pair is degraded by


@dataclass(frozen=True)
class PairPart:
    """A part of a pair as a pair of its own; of the LR pixels those in `core` count, the others lie around them.

    `psf` and `ratio` (along rows and columns) are the pair's.
    """

    scene: LrScene
    strips: Strips
    resampling: Resampling
    psf: Psf
    ratio: tuple[float, float]
    core: tuple[slice, slice]


@dataclass(frozen=True)
class Evidence:
    """What was gathered: see `Verdict`."""

    standings: tuple[Standing, ...]
    left_out: LeftOut | None
    lr_pixels: int
    unexplained: float | None
    misplaced: Misplacement | None = None


def gather(
    parts: Iterable[PairPart],
    methods: Sequence[EndPoint],
    blocks: int | None = None,
    covariance: Covariance = USUAL,
) -> Evidence:
    """The evidence for methods, kriging among them under the covariance given, one part after the other.

    `blocks`: about so many of each part's are left out one by one; None: all. A part with too few pixels for a kind
    of evidence gives none of it. Of a pair with one MSI band all are left out: they decide there.
    """
    kinds: dict[str, _Kind] = {}
    left_out, unexplained, derivatives, pixels = _Residuals(), _Residuals(), Derivatives(), 0
    for part in parts:
        core = part.scene.valid[part.core]
        pixels += int(core.sum())
        if not core.any():
            continue
        with suppress(InputError):
            seen = seen_by_hsi(part.scene)
            rest = (part.scene.msi - seen)[:, *part.core][:, core]
            unexplained.add(rest, part.scene.msi[:, *part.core][:, core])
            derivatives.add(part.scene, part.strips, part.resampling, seen, part.ratio)
            likeliest = _leave_out(part, left_out, None if len(part.scene.msi) == 1 else blocks, covariance)
            _hold_out(part, methods, seen, likeliest, kinds)
            _reduce(part, methods, kinds, covariance)
    standings = [
        Standing(method, {name: kind.score(method) for name, kind in kinds.items()}) for method in methods
    ]
    return Evidence(
        tuple(standings if kinds else ()),
        left_out.told() if left_out.squares else None,
        pixels,
        unexplained.share() if unexplained.squares else None,
        derivatives.told(),
    )


@dataclass
class _Kind:
    """Errors under one kind of evidence, by method and part; the bands' variances, by part."""

    least_side: int = 1
    errors: dict[str, list[BlockErrors]] = field(default_factory=dict)
    variances: list[Doubles] = field(default_factory=list)
    angles: dict[str, list[float]] = field(default_factory=dict)

    def add(self, method: str, errors: BlockErrors) -> None:
        self.errors.setdefault(method, []).append(errors)

    def score(self, method: str) -> Score:
        own = self.errors[method]
        gain = difference_db(own, self.errors[FAVOURITE], self.least_side)
        counts = [float(errors.counts.sum()) for errors in own]
        lit = [part for part, count in enumerate(counts) if count]
        if not lit:
            return Score(float("nan"), gain)
        weights = [counts[part] for part in lit]
        mse, variance = (
            np.average([values[part] for part in lit], axis=0, weights=weights)
            for values in ([errors.mse for errors in own], self.variances)
        )
        angles = self.angles.get(method)
        sam = None if angles is None else float(np.average([angles[part] for part in lit], weights=weights))
        return Score(float(decibels(variance) - decibels(mse)), gain, sam)


@dataclass
class _Residuals:
    """Squares of residuals (k,) and of what they are relative to, summed over parts; standardised ones."""

    squares: list[Doubles] = field(default_factory=list)
    variances: list[Doubles] = field(default_factory=list)
    standardised: list[Doubles] = field(default_factory=list)

    def add(self, rest: NDArray[np.floating], values: NDArray[np.floating]) -> None:
        self.squares.append(np.square(rest, dtype=np.float64).mean(axis=1))
        self.variances.append(values.var(axis=1, dtype=np.float64))

    def share(self) -> float:
        return float(
            (np.sum(self.squares, axis=0) / np.maximum(np.sum(self.variances, axis=0), 1e-30)).mean()
        )

    def told(self) -> LeftOut:
        mse, variance = np.mean(self.squares, axis=0), np.mean(self.variances, axis=0)
        rms = float(np.sqrt(np.mean(np.concatenate([z.ravel() for z in self.standardised]) ** 2)))
        return LeftOut(float(decibels(variance) - decibels(mse)), rms)


def _hold_out(
    part: PairPart,
    methods: Sequence[EndPoint],
    seen: NDArray[np.float32],
    covariance: Covariance,
    kinds: dict[str, _Kind],
) -> None:
    """The methods on each MSI band held out, as the LR-HSI sees it; kriging under the covariance given."""
    found: dict[str, list[BlockErrors]] = {method: [] for method in methods}
    for held in held_out_bands(part.scene, part.strips, part.resampling, seen, _MOST_HELD, covariance):
        for method in methods:
            found[method].append(held.errors(held.fitted(method)).within(part.core))
    if not found[FAVOURITE]:
        return
    kind = kinds.setdefault(HELD_OUT, _Kind())
    kind.variances.append(part.scene.msi[:, part.scene.valid].var(axis=1, dtype=np.float64))
    for method, bands in found.items():
        kind.add(method, BlockErrors.of_bands(bands))


def _reduce(
    part: PairPart, methods: Sequence[EndPoint], kinds: dict[str, _Kind], covariance: Covariance
) -> None:
    """The methods on the part degraded once more, by 2 and by its ratio."""
    for name, factor in _factors(part.ratio).items():
        reduced = ReducedPair.of(part.scene, part.psf, part.ratio, factor)
        if reduced is None:
            continue
        kind = kinds.setdefault(name, _Kind(least_side=int(np.ceil(factor))))
        kind.variances.append(part.scene.hsi[:, part.scene.valid].var(axis=1, dtype=np.float64))
        for method in methods:
            fused = reduced.fused(method, covariance)
            kind.add(method, reduced.errors(fused).within(part.core))
            kind.angles.setdefault(method, []).append(reduced.sam_deg(fused))


def _factors(ratio: tuple[float, float]) -> Mapping[str, float]:
    """What a pair is degraded by once more, by the kind of evidence that it gives."""
    own = float(np.sqrt(ratio[0] * ratio[1]))
    halves = {"half resolution": _HALF}
    return halves if own <= _HALF else halves | {f"1/{own:.3g} resolution": own}


def _leave_out(part: PairPart, into: _Residuals, blocks: int | None, covariance: Covariance) -> Covariance:
    """Kriging's residuals at LR pixels left out, brought from the spectral directions to the bands.

    Without the process of shape, of which LR pixels tell nothing. Returns that covariance with the slopes' prior
    that is likeliest for the part.
    """
    covariance = without_shape(covariance)
    scene = part.scene
    basis = own_basis(scene)
    fitted = replace(scene, hsi=basis.project(scene.hsi))
    problem = SceneToFit(fitted, part.strips, part.resampling, regress(fitted))
    field = GaussianProcess.likeliest(prepare_kriging(problem, covariance).data, covariance)
    found = leave_one_out_of(field, blocks)
    known = found.known[part.core]
    if known.any():
        residual, deviation = (image[:, *part.core][:, known] for image in (found.residual, found.deviation))
        into.add(basis.vectors @ residual, scene.hsi[:, *part.core][:, known])
        into.standardised.append((residual / np.maximum(deviation, 1e-30)).astype(np.float64))
    return replace(field.covariance, slopes=(field.slope_prior,))

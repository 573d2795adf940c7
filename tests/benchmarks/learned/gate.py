"""How much of a learned correction a pair's own evidence supports.

On an MSI band held out, and on the pair degraded once more, the truth is known: there the share s of the correction
c is best that takes most of the error r, s = <r, c> / <c, c>.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.evidence.held_out_band import held_out_bands, seen_by_hsi
from emrdiff_cli.core.evidence.reduced_resolution import ReducedPair
from emrdiff_cli.core.methods.end_point import SceneToFit, regress
from emrdiff_cli.core.methods.scene_end_point import own_basis
from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.observation import Strip
from tests.benchmarks.learned.kriged_scene import KrigedScene
from tests.benchmarks.learned.residual import COMPONENTS, correction

Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

KINDS = ("held-out band", "half resolution")
_BLOCKS = 4  # along each axis, by which the share's standard error is told
_MOST_HELD = 4  # bands
_HALF = 2.0


@dataclass(frozen=True)
class Trial:
    """A scene of which the truth (k, H, W) is known beside the pair's own, by a kind of evidence."""

    kind: str
    scene: KrigedScene
    truth: Field

    def products(self, net: nn.Module) -> Doubles:
        """<r, c> and <c, c> by block (2, n), each channel's by its <r, r>."""
        wrong = (self.truth - self.scene.mean)[:COMPONENTS]
        added = correction(net, self.scene)[:COMPONENTS]
        scale = 1 / np.maximum(np.square(wrong, dtype=np.float64).mean(axis=(1, 2), keepdims=True), 1e-30)
        fields = np.stack([(scale * wrong * added).sum(axis=0), (scale * added * added).sum(axis=0)])
        rows = np.array_split(fields, _BLOCKS, axis=1)
        blocks = [part for row in rows for part in np.array_split(row, _BLOCKS, axis=2)]
        return np.stack([block.sum(axis=(1, 2)) for block in blocks], axis=1) / wrong.size


class Support(NamedTuple):
    """The best `share` of a correction, and its standard error."""

    share: float
    error: float

    @classmethod
    def of(cls, products: Doubles) -> Support:
        """By the jackknife over blocks (2, n)."""
        along, own = products.sum(axis=1)
        left_out = (along - products[0]) / np.maximum(own - products[1], 1e-30)
        count = len(left_out)
        variance = (count - 1) / count * np.square(left_out - left_out.mean()).sum()
        return cls(float(along / max(own, 1e-30)), float(np.sqrt(variance)))


def trials(pair: SupervisedPair) -> Iterator[Trial]:
    """Those that a pair gives, without its truth."""
    lr, _ = at_lr(pair)
    for held in held_out_bands(lr, pair.strips, pair.resampling, seen_by_hsi(lr), _MOST_HELD):
        (_, msi, _), (_, truth, _) = next(iter(held.problem.strips())), next(iter(held.truth()))
        yield Trial(KINDS[0], KrigedScene.of(held.problem, msi), truth)
    ratio = pair.hr_msi.shape[1] / pair.lr_hsi.shape[1]
    reduced = ReducedPair.of(lr, WALD_PSF, (ratio, ratio), _HALF)
    if reduced is not None:
        basis = own_basis(reduced.lower)
        in_basis = replace(reduced.lower, hsi=basis.project(reduced.lower.hsi))
        one = Strip(0, reduced.truth.msi, reduced.truth.valid)
        scene = SceneToFit(in_basis, lambda: iter([one]), reduced.resampling, regress(in_basis))
        kriged = KrigedScene.of(scene, reduced.truth.msi)
        yield Trial(KINDS[1], kriged, basis.project(reduced.truth.hsi))


def supports(found: Sequence[Trial], net: nn.Module) -> dict[str, Support]:
    """What each kind of evidence says of a network."""
    by_kind: dict[str, list[Any]] = {}
    for trial in found:
        by_kind.setdefault(trial.kind, []).append(trial.products(net))
    return {kind: Support.of(np.mean(products, axis=0)) for kind, products in by_kind.items()}


def strength(found: Mapping[str, Support]) -> float:
    """How strongly a correction is applied, 0 to 1: what the weakest evidence supports, less its standard error."""
    return (
        float(np.clip(min(support.share - support.error for support in found.values()), 0, 1))
        if found
        else 0.0
    )

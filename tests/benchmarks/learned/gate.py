"""How much of a learned correction a pair's own evidence supports.

On an MSI band held out (`core/evidence/held_out_band.py`) the truth is known: there the share s of the correction c
is best that takes most of the error r, s = <r, c> / <c, c>.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.evidence.held_out_band import held_out_bands, seen_by_hsi
from tests.benchmarks.learned.kriged_scene import KrigedPair, KrigedScene
from tests.benchmarks.learned.residual import correction

Doubles = NDArray[np.float64]
Field = NDArray[np.float32]

STRENGTHS = (0.0, 0.25, 0.5, 1.0)  # of what was learned, that are tried
_BLOCKS = 4  # along each axis, by which the share's standard error is told
_MOST_HELD = 4  # bands


@dataclass(frozen=True)
class Trial:
    """A band held out, kriged from the others, with its `truth` (1, H, W)."""

    scene: KrigedScene
    truth: Field

    def products(self, net: nn.Module) -> Doubles:
        """<r, c> and <c, c> by block (2, n), relative to <r, r>."""
        wrong = (self.truth - self.scene.mean).astype(np.float64)
        added = correction(net, self.scene)
        fields = np.concatenate([wrong * added, added * added])
        return by_block(fields) / max(float(np.square(wrong).sum()), 1e-300)


def by_block(fields: Doubles) -> Doubles:
    """Sums (q, n) of fields (q, H, W) in blocks, over which a standard error can be told."""
    rows = np.array_split(fields, _BLOCKS, axis=1)
    blocks = [part for row in rows for part in np.array_split(row, _BLOCKS, axis=2)]
    return np.stack([block.sum(axis=(1, 2)) for block in blocks], axis=1)


def jackknifed(left_out: Doubles) -> float:
    """The standard error of what comes out as `left_out` (n,) where each block is left out once."""
    count = len(left_out)
    return float(np.sqrt((count - 1) / count * np.square(left_out - left_out.mean()).sum()))


class Support(NamedTuple):
    """The best `share` of a correction, and its standard error."""

    share: float
    error: float

    @classmethod
    def of(cls, products: Doubles) -> Support:
        """By the jackknife over blocks (2, n)."""
        along, own = products.sum(axis=1)
        left_out = (along - products[0]) / np.maximum(own - products[1], 1e-30)
        return cls(float(along / max(own, 1e-30)), jackknifed(left_out))

    @property
    def strength(self) -> float:
        """How strongly the correction is applied, 0 to 1: the share less its standard error."""
        return float(np.clip(self.share - self.error, 0, 1))


def trials(pair: SupervisedPair) -> Iterator[Trial]:
    """A pair's MSI bands held out, as the LR-HSI sees them; none of an MSI of one band."""
    lr, _ = at_lr(pair)
    for held in held_out_bands(lr, pair.strips, pair.resampling, seen_by_hsi(lr), _MOST_HELD):
        (_, msi, _), (_, truth, _) = next(iter(held.problem.strips())), next(iter(held.truth()))
        yield Trial(KrigedScene.of(held.problem, msi), truth)


def support(found: Iterable[Trial], net: nn.Module) -> Support:
    """What the trials say of a network, each as much; without any, nothing is supported."""
    products = [trial.products(net) for trial in found]
    return Support.of(np.mean(products, axis=0)) if products else Support(0.0, 0.0)


@dataclass(frozen=True)
class AppliedResidual:
    """What a residual network adds to a pair's `kriged` mean (k, H, W), and the support that it has."""

    kriged: Field
    added: Field
    support: Support

    @classmethod
    def of(cls, pair: KrigedPair, tried: Iterable[Trial], net: nn.Module) -> AppliedResidual:
        """A network applied to a pair with its trials."""
        return cls(pair.kriged.mean, correction(net, pair.kriged), support(tried, net))

    def mean(self, strength: float) -> Field:
        """The mean (k, H, W) with so much of what is added."""
        return self.kriged + np.float32(strength) * self.added

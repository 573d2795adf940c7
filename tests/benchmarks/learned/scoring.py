"""Kriging, and kriging with what was learned in several strengths, scored on the same pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from emrdiff_cli.core.diffusion.supervision import SupervisedPair
from emrdiff_cli.core.metrics.cube import score
from tests.benchmarks.geometry_pairs import four_boxes
from tests.benchmarks.learned.gate import STRENGTHS, trials
from tests.benchmarks.learned.grounds import Conditions, Ground, make_pair, realistic
from tests.benchmarks.learned.kinds import Kind
from tests.benchmarks.learned.kriged_scene import KrigedPair

Field = NDArray[np.float32]
Scored = dict[str, Any]

RATIOS = (4, 6, 8)
_LR_SIDE = 24
_METRICS = ("psnr_db", "sam_deg")


def pairs_of(
    ground: Ground, seed: int, ratios: Sequence[int] = RATIOS, draws: int = 1
) -> Iterator[tuple[str, SupervisedPair]]:
    """The ground's pairs by name: four MSI bands, at each ratio, exact and under conditions drawn by the seed.

    Of several draws of the conditions those after the first have a number behind their name, "x4 realistic#2".
    """
    for ratio in ratios:
        side = _LR_SIDE * ratio
        truth = ground.truth[:, :side, :side]
        rng = np.random.default_rng([seed, ratio])
        told = {"exact": Conditions(ratio), "realistic": realistic(ratio, rng)}
        told |= {f"realistic#{number}": realistic(ratio, rng) for number in range(2, draws + 1)}
        for name, conditions in told.items():
            yield f"x{ratio} {name}", make_pair(truth, four_boxes(len(truth)), conditions, rng)


def compare(pair: SupervisedPair, kind: Kind, nets: Mapping[str, nn.Module]) -> dict[str, Scored]:
    """For each network: PSNR and SAM in each of the STRENGTHS, and then as strongly as the pair supports it."""
    kriged = KrigedPair.of(pair)
    tried = list(trials(pair))
    found = {}
    for name, net in nets.items():
        applied = kind.applied(kriged, tried, net)
        supported = applied.support
        strengths = (*STRENGTHS, supported.strength)
        scores = [_scores(kriged, applied.mean(strength)) for strength in strengths]
        found[name] = {"support": supported, "gated": supported.strength, "scores": scores}
    return found


def _scores(kriged: KrigedPair, channels: Field) -> tuple[float, float]:
    """PSNR (dB, mean over the bands; the peak is the truth's) and SAM (degrees)."""
    truth = kriged.pair.hr_hsi
    image = np.maximum(kriged.bands(channels), 0)
    found = score(image, truth, float(truth.max()), metrics=_METRICS).overall
    return float(found["psnr_db"] or 0.0), float(found["sam_deg"] or 0.0)

"""Kriging, and kriging with what was learned in several strengths, scored on the same pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from emrdiff_cli.core.diffusion.supervision import SupervisedPair
from emrdiff_cli.core.metrics.cube import score
from tests.benchmarks.geometry_pairs import four_boxes
from tests.benchmarks.learned.gate import strength, supports, trials
from tests.benchmarks.learned.grounds import Conditions, Ground, make_pair, realistic
from tests.benchmarks.learned.kriged_scene import KrigedPair
from tests.benchmarks.learned.residual import correction

Field = NDArray[np.float32]
Scored = dict[str, Any]

STRENGTHS = (0.0, 0.25, 0.5, 1.0)  # of what was learned
RATIOS = (4, 6, 8)
_LR_SIDE = 24


def pairs_of(ground: Ground, seed: int) -> Iterator[tuple[str, SupervisedPair]]:
    """The ground's pairs by name: four MSI bands, at each ratio, exact and under conditions drawn by the seed."""
    for ratio in RATIOS:
        side = _LR_SIDE * ratio
        truth = ground.truth[:, :side, :side]
        rng = np.random.default_rng([seed, ratio])
        for name, conditions in (("exact", Conditions(ratio)), ("realistic", realistic(ratio, rng))):
            yield f"x{ratio} {name}", make_pair(truth, four_boxes(len(truth)), conditions, rng)


def compare(pair: SupervisedPair, nets: Mapping[str, nn.Module]) -> dict[str, Scored]:
    """For each network what kriging and the correction score, see `_scored`; the evidence is that of the pair."""
    kriged = KrigedPair.of(pair)
    tried = list(trials(pair))
    found = {}
    for name, net in nets.items():
        supported = supports(tried, net)
        added = correction(net, kriged.kriged)
        gated = strength(supported)
        scores = [_scores(kriged, kriged.kriged.mean + np.float32(s) * added) for s in (*STRENGTHS, gated)]
        found[name] = {
            "supports": supported,
            "gated": gated,
            "scores": scores,
            "products": _products(kriged, added),
        }
    return found


def _products(kriged: KrigedPair, added: Field) -> list[Any]:
    """Each band's mean r^2, r c and c^2 (B, 3): its error under any strength."""
    wrong = (kriged.pair.hr_hsi - kriged.bands(kriged.kriged.mean)).astype(np.float64)
    change = np.tensordot(kriged.basis.vectors.astype(np.float64), added, axes=1)
    means = [
        (one * other).mean(axis=(1, 2)) for one, other in ((wrong, wrong), (wrong, change), (change, change))
    ]
    return list(np.stack(means, axis=1).tolist())


def _scores(kriged: KrigedPair, channels: Field) -> tuple[float, float]:
    """PSNR (dB, mean over the bands; the peak is the truth's) and SAM (degrees)."""
    truth = kriged.pair.hr_hsi
    ratio = truth.shape[1] / kriged.pair.lr_hsi.shape[1]
    found = score(np.maximum(kriged.bands(channels), 0), truth, float(truth.max()), ratio).overall
    return float(found["psnr_db"] or 0.0), float(found["sam_deg"] or 0.0)

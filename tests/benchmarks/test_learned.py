"""What is learned across sensors starts from kriging as the command has it, on pairs of any condition."""

from __future__ import annotations

import numpy as np

from emrdiff_cli.core.diffusion.supervision import fused_without_model
from tests.benchmarks.geometry_pairs import four_boxes
from tests.benchmarks.learned.grounds import Conditions, make_pair
from tests.benchmarks.learned.kriged_scene import KrigedPair
from tests.support.scenes import textured

BANDS, SIDE, RATIO = 40, 48, 4
REALISTIC = Conditions(RATIO, "box", 1.1, 1.02, 40.0, 40.0, (0.02, -0.01))


def test_a_kriged_pair_is_fused_as_the_method_fuses_it() -> None:
    truth = textured(BANDS, SIDE, SIDE)
    pair = make_pair(truth, four_boxes(BANDS), REALISTIC, np.random.default_rng(0))
    kriged = KrigedPair.of(pair)
    np.testing.assert_allclose(
        kriged.bands(kriged.kriged.mean), fused_without_model(pair, "kriging"), rtol=0, atol=1e-5
    )

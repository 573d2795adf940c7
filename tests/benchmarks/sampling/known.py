"""A pair as samplers know it: kriging's posterior in a few components, draws of it, and what is to be judged."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.core.diffusion.supervision import SupervisedPair, at_lr
from emrdiff_cli.core.evidence.interval_scale import find_interval_scale
from emrdiff_cli.core.evidence.scene_part import PartPlan, middle
from emrdiff_cli.core.evidence.uncertainty import BandVariances, edge_magnitude
from emrdiff_cli.core.methods.conditional_draw import draw_error
from emrdiff_cli.core.methods.kriged_detail import prepare_kriging
from emrdiff_cli.core.methods.posterior import white_parts
from emrdiff_cli.core.sensor.degradation import WALD_PSF
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.resampling import Taps, apply_taps
from tests.benchmarks.learned.kriged_scene import KrigedPair, KrigedScene
from tests.benchmarks.sampling.scenes import Bands, PlannedPair

Field = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]

COMPONENTS = 8
MEMBERS = 16
DRAWS_TO_LEARN, DRAWS_TO_TEST = 12, 48
_EVERY = 4  # of the judged bands is judged
_EXCERPT = 24  # LR pixels along a side, as `fuse` takes


@dataclass(frozen=True)
class KnownPair:
    """What is known of a pair on H x W pixels in k components, its truth, and J bands to be judged, the last
    three for indices (J = 0 for pairs to learn from).

    `mean`, `deviation`, `truth`, `bicubic` (k, H, W): kriging's posterior with texture, the true components, and
    the LR-HSI's, `lr` (k, h, w), upsampled; `draws` (n, k, H, W), errors from the posterior in units of
    `deviation`, each component's of unit rms. `seen` (S, H, W): the MSI as networks see it, last the edges'
    magnitude. `down_` and `up_`: matrices along rows (h, H), (H, h) and columns.
    `vectors` (J, k), `rest` (J, H, W): bands are the first times components and the second; `truth_bands`
    (J, H, W); `beside` (MEMBERS, J, H, W), kriging's draws of what other components have, for every sampler; `told`
    (MEMBERS, J, H, W), errors as `fuse --samples` draws them.
    """

    ratio: NDArray[np.int64]
    mean: Field
    deviation: Field
    truth: Field
    bicubic: Field
    draws: NDArray[np.float16]
    lr: Field
    seen: Field
    down_rows: Field
    down_cols: Field
    up_rows: Field
    up_cols: Field
    vectors: Field
    rest: Field
    truth_bands: Field
    beside: NDArray[np.float16]
    told: NDArray[np.float16]

    def degraded(self, components: Floats) -> Floats:
        """(..., k, h, w) of components (..., k, H, W)."""
        return np.asarray(self.down_rows @ components @ self.down_cols.T)

    def upsampled(self, components: Floats) -> Floats:
        """(..., k, H, W) of components (..., k, h, w)."""
        return np.asarray(self.up_rows @ components @ self.up_cols.T)

    def save(self, path: Path) -> None:
        """Keep it."""
        part = path.with_suffix(".part.npz")
        np.savez(part, **{field.name: getattr(self, field.name) for field in fields(self)})
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> KnownPair:
        """One that was kept."""
        with np.load(path) as kept:
            return cls(**{field.name: kept[field.name] for field in fields(cls)})


def kept_pair(plan: PlannedPair, data: Path, folder: Path) -> KnownPair:
    """The pair of a plan, worked out once."""
    path = folder / "pairs" / plan.part / f"{plan.name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pair, bands = plan.make(data)
        known_pair(pair, bands, plan.ratio, judged=plan.part != "train").save(path)
    return KnownPair.load(path)


def known_pair(pair: SupervisedPair, bands: Bands, ratio: int, judged: bool) -> KnownPair:
    """What is known of a pair, kriged as `fuse --method kriging` does; the leading components are sampled."""
    lr, _ = at_lr(pair)
    kriged_pair = KrigedPair.of(pair)
    kriged, basis = kriged_pair.kriged, kriged_pair.basis
    texture = np.sqrt(white_parts(kriged.posterior).texture).astype(np.float32)[:, None, None]
    plain = _draws(kriged, pair.hr_msi, DRAWS_TO_TEST if judged else DRAWS_TO_LEARN)
    drawn = plain + texture * np.random.default_rng(len(plain)).standard_normal(plain.shape, np.float32)
    deviation = np.sqrt(np.square(kriged.sigma) + np.square(texture))[:COMPONENTS]
    units = drawn[:, :COMPONENTS] / deviation
    rms = np.sqrt(np.square(units).mean(axis=(0, 2, 3)))[:, None, None]  # not 1: the mean is back-projected
    up = pair.resampling.up
    edges = edge_magnitude(_around(pair.hr_msi), lr.msi[:, lr.valid].std(axis=1))
    matrices = [
        taps.matrix(0, taps.n_in).astype(np.float32) for taps in (*pair.resampling.down, *pair.resampling.up)
    ]
    coefficients = kriged.scene.lr.hsi[:COMPONENTS]
    known = KnownPair(
        ratio=np.array(ratio),
        mean=kriged.mean[:COMPONENTS],
        deviation=deviation * rms,
        truth=kriged_pair.truth[:COMPONENTS],
        bicubic=np.asarray(apply_taps(coefficients, *up), np.float32),
        draws=(units / rms).astype(np.float16),
        lr=np.asarray(coefficients, np.float32),
        seen=np.concatenate([kriged.seen, _phases(up), edges[None]]).astype(np.float32),
        down_rows=matrices[0],
        down_cols=matrices[1],
        up_rows=matrices[2],
        up_cols=matrices[3],
        **_nothing_judged(pair.hr_hsi.shape[1:]),
    )
    if not judged:
        return known
    numbers = np.array([*range(bands.swir, len(lr.hsi), _EVERY), *bands.index])
    told = _as_told(kriged_pair, lr, ratio, plain[:MEMBERS], edges, numbers)
    vectors = basis.vectors[numbers, :COMPONENTS]
    mean = np.asarray(kriged_pair.bands(kriged.mean)[numbers], np.float32)
    rest = drawn[:MEMBERS, COMPONENTS:]
    beside = np.moveaxis(np.tensordot(basis.vectors[numbers, COMPONENTS:], rest, axes=([1], [1])), 1, 0)
    outside = np.square(lr.hsi - basis.expand(kriged.scene.lr.hsi))[numbers][:, lr.valid].mean(axis=1)
    white = np.random.default_rng(0).standard_normal(beside.shape, np.float32)
    return replace(
        known,
        vectors=vectors,
        rest=mean - np.tensordot(vectors, known.mean, axes=1),
        truth_bands=pair.hr_hsi[numbers],
        beside=(beside + np.sqrt(outside)[:, None, None] * white).astype(np.float16),
        told=told.astype(np.float16),
    )


def _nothing_judged(shape: tuple[int, ...]) -> dict[str, Any]:
    none, image = np.empty((0, *shape), np.float16), np.empty((0, *shape), np.float32)
    vectors = np.empty((0, COMPONENTS), np.float32)
    return {"vectors": vectors, "rest": image, "truth_bands": image, "beside": none, "told": none}


def _as_told(
    kriged_pair: KrigedPair,
    lr: LrScene,
    ratio: int,
    plain: Field,
    edges: Field,
    numbers: NDArray[np.intp],
) -> Field:
    """Errors (MEMBERS, J, H, W) of bands as `fuse --samples` makes them of draws, scaled by the pair's evidence."""
    pair = kriged_pair.pair
    variances = BandVariances.of_scene(lr, pair.strips, pair.resampling, kriged_pair.basis)
    plan = PartPlan.of(
        replace(lr, hsi=lr.hsi[:1]),
        pair.resampling,
        (middle(lr.valid.shape[0], _EXCERPT), middle(lr.valid.shape[1], _EXCERPT)),
    )
    window = plan.hr.rows, plan.hr.cols
    excerpt = plan.seen(pair.hr_msi[:, *window], pair.valid[*window])
    by = float(ratio), float(ratio)
    scale = find_interval_scale(lr, excerpt, WALD_PSF, by, variances.posterior.field)
    nothing = np.zeros(edges.shape, np.float32)
    rng = np.random.default_rng(1)
    told = []
    for error in plain:
        white = rng.standard_normal((2, len(lr.hsi), *edges.shape), np.float32)
        told.append(variances.scaled_error(error, scale, edges, nothing, (white[0], white[1]))[numbers])
    return np.stack(told)


def _draws(kriged: KrigedScene, msi: Field, count: int) -> Field:
    """Errors (count, k, H, W) as the posterior has them, without texture."""
    prepared = prepare_kriging(kriged.scene, kriged.scene.covariance)
    up = kriged.scene.resampling.up
    result = np.empty((count, *kriged.mean.shape), np.float32)
    for number in range(count):
        rng = np.random.default_rng(number)
        result[number] = draw_error(kriged.posterior, prepared, kriged.scene, rng).tile(msi, *up)
    return result


def _phases(up: tuple[Taps, Taps]) -> Field:
    """Where an HR pixel lies in its LR pixel (2, H, W): the cosine of the row's and of the column's phase."""
    rows, cols = (np.cos(2 * np.pi * taps.centres()) for taps in up)
    return np.stack(np.broadcast_arrays(rows[:, None], cols)).astype(np.float32)


def _around(image: Field) -> Field:
    return np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")

"""A pair made ready for fusion: everything scene-wide, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli.arrays import Arrays, from_arrays, part, to_arrays
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.band_numbers import numbered
from emrdiff_cli.core.diffusion.conditioning import Calibration, Channels, TileInputs, calibrate, usual_levels
from emrdiff_cli.core.diffusion.msi_scale import (
    known_relations,
    msi_factor,
    scale_relations,
)
from emrdiff_cli.core.large_arrays import IN_MEMORY, LargeArrays
from emrdiff_cli.core.methods.covariance import USUAL, Covariance
from emrdiff_cli.core.methods.evaluator import ON_PROCESSOR, Evaluator
from emrdiff_cli.core.methods.scene_end_point import (
    SceneEndPoint,
    choose_basis,
    find_end_point,
    fitted_class,
)
from emrdiff_cli.core.sensor.fill import ProbableFill
from emrdiff_cli.core.sensor.missing_bands import MissingBands
from emrdiff_cli.core.sensor.observation import LrScene, Observation, Resampling
from emrdiff_cli.core.sensor.offsets import common_offset, nearest_bands
from emrdiff_cli.core.sensor.possible_values import PossibleValues
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.errors import UnfitModelError
from emrdiff_cli.fusion.band_order import BandOrder
from emrdiff_cli.fusion.hole_notes import hole_notes
from emrdiff_cli.fusion.observed_scene import (
    ChangedGround,
    Fill,
    Lost,
    ObservedScene,
    PassedBands,
    observe_scene,
)
from emrdiff_cli.fusion.row_blocks import RowBlocks
from emrdiff_cli.methods import FAVOURITE, METHODS, EndPoint
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.fill_warnings import fill_warnings
from emrdiff_cli.raster_info import Window

Field = NDArray[np.float32]

MSI_SCALE_TAG = "emrdiff_msi_scale"
MSI_OFFSET_TAG = "emrdiff_msi_offset"
CHANGED_TAG = "emrdiff_changed_share"

_UNIT_FACTOR = 20.0  # values further off than that are in other units than the model's


class Sampler(Protocol):
    """Runs the chain on a batch of tiles; corners are absolute (row, column) on the MSI's raster."""

    config: ModelConfig
    calibration: Calibration | None

    @property
    def identity(self) -> Mapping[str, str]:
        """All that the estimates depend on beside the tiles and `config`: values or hashes, by users' names.

        Samplers of equal identity and configuration give equal estimates: an unfinished run of one is resumed
        with another.
        """

    def __call__(self, tiles: Sequence[TileInputs], corners: Sequence[tuple[int, int]]) -> list[Field]:
        """Return the estimate of X'_0 of each tile, relative to the chain's end."""


@dataclass(frozen=True)
class PreparedScene:
    """Scene-wide state of a fusion: the end point, the chain's channels, the masks.

    Nothing in it is of the HR scene's size. `fused`: the bands (0-based) that are fused; the others of
    `band_count` are passed through. `possible`: values that the fused bands can have. `channels` are None without a
    sampler. `fill`: probable fill of the LR-HSI and of the HR-MSI. `msi_factor` and
    `msi_offset`, which is taken off before, are in the pair already.
    `missing`: LR pixels without a value in some of the fused bands, nodata in these alone. `lost`: shares of the
    pixels that have values in some bands, and are nodata in all. `large`: where what grows with the scene is put;
    `evaluator`: who works at HR pixels.
    """

    pair: PairReader
    end: SceneEndPoint
    channels: Channels | None
    edge_range: tuple[float, float]
    lr_valid: NDArray[np.bool_]
    band_count: int
    fused: NDArray[np.intp]
    passed: PassedBands
    ground: ChangedGround
    possible: PossibleValues
    missing: MissingBands
    lost: Lost
    fill: Fill = ((), ())
    msi_factor: float = 1.0
    msi_offset: float = 0.0
    covariance: Covariance = USUAL
    large: LargeArrays = IN_MEMORY
    evaluator: Evaluator = ON_PROCESSOR

    @property
    def height(self) -> int:
        """Rows of the common area of the MSI."""
        return self.pair.alignment.hr_window.height

    @property
    def width(self) -> int:
        """Columns of the common area of the MSI."""
        return self.pair.alignment.hr_window.width

    @property
    def resampling(self) -> Resampling:
        """The maps between the two grids."""
        return self.pair.resampling

    @cached_property
    def blocks(self) -> RowBlocks:
        """The blocks of rows that it is worked out in."""
        return RowBlocks(self.pair)

    def with_pair(self, pair: PairReader) -> PreparedScene:
        """The same scene read through other handles, for another thread."""
        return replace(self, pair=pair)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on what was done to the values."""
        notes = []
        for info in (self.pair.lr_info, self.pair.msi_info):
            if info.has_alpha:
                notes.append(
                    f"{info.path.name}: the alpha band is a mask, not one of its {info.bands.count} bands"
                )
        if bad := self.pair.lr_info.bands.bad:
            bands = numbered([band + 1 for band in bad])
            notes.append(f"bands marked bad are upsampled as they are, and used for no other: {bands}")
        notes += hole_notes(self.missing, self.fused, self.lost)
        if self.msi_offset:
            notes.append(
                f"an offset of {self.msi_offset:g} was taken off the HR-MSI: all bands have it over the LR-HSI, "
                "as Sentinel-2's have 1000 counts from processing baseline 04.00 on"
            )
        if self.msi_factor != 1:
            notes.append(
                f"the HR-MSI was multiplied by {self.msi_factor:g}: so it relates to the LR-HSI as in the model's "
                "training"
            )
        if self.ground.share:
            notes.append(
                f"{self.ground.share:.2%} of the LR pixels contradict the rest of the pair (changed ground, "
                "clouds, shadows): they take no detail of the MSI, and nothing is learned from them"
            )
        if self.evaluator is not ON_PROCESSOR and self.end.method == FAVOURITE:
            notes.append(f"{FAVOURITE} was evaluated on {self.evaluator.device}")
        return tuple(notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the values."""
        lr, msi = self.fill
        return tuple(fill_warnings((self.pair.lr_info, lr), (self.pair.msi_info, msi)))

    @property
    def tags(self) -> dict[str, str]:
        """The same for the fused raster's provenance."""
        tags = {} if self.msi_factor == 1 else {MSI_SCALE_TAG: f"{self.msi_factor:g}"}
        tags |= {MSI_OFFSET_TAG: f"{self.msi_offset:g}"} if self.msi_offset else {}
        return tags | ({CHANGED_TAG: f"{self.ground.share:.6f}"} if self.ground.share else {})

    def passed_bands(self, window: Window) -> Field:
        """The bands (b, H, W) of a window that were not fused; NaN where one has a hole.

        Where upsampling overflows, the nearest LR pixel's value stands.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            upsampled = apply_taps(self.passed.values, *self.resampling.up_part(window))
        rows, cols = self.pair.nearest_lr
        nearest = np.ix_(np.arange(len(upsampled)), rows[window.rows], cols[window.cols])
        upsampled = np.where(np.isfinite(upsampled), upsampled, self.passed.values[nearest])
        return np.asarray(np.where(self.passed.valid[nearest], upsampled, np.nan), np.float32)

    def arrays(self) -> Arrays:
        """All but the pair, for `from_arrays`."""
        held = {
            "edge_range": np.array(self.edge_range, np.float64),
            "lr_valid": self.lr_valid,
            "band_count": np.array(self.band_count),
            "fused": self.fused,
            "msi_factor": np.array(self.msi_factor, np.float64),
            "msi_offset": np.array(self.msi_offset, np.float64),
            "fill": np.array([(at, *astuple(fill)) for at in (0, 1) for fill in self.fill[at]]).reshape(
                -1, 5
            ),
        }
        parts = {
            "end": self.end,
            "channels": self.channels,
            "passed": self.passed,
            "ground": self.ground,
            "possible": self.possible,
            "missing": self.missing,
            "lost": self.lost,
        }
        for prefix, value in parts.items():
            taken = {} if value is None else to_arrays(value)
            held |= {f"{prefix}.{name}": array for name, array in taken.items()}
        return held

    @classmethod
    def from_arrays(cls, pair: PairReader, arrays: Mapping[str, NDArray[Any]]) -> PreparedScene:
        """The scene of a pair whose MSI is not rescaled yet. Raises KeyError where an array is missing."""
        end, channels = part("end", arrays), part("channels", arrays)
        low, high = arrays["edge_range"].tolist()
        factor, offset = float(arrays["msi_factor"]), float(arrays["msi_offset"])
        return cls(
            pair=pair.without_offset(offset).rescaled(factor),
            end=from_arrays(SceneEndPoint, end, fitted=fitted_class(end["method"].item())),
            channels=from_arrays(Channels, channels) if channels else None,
            edge_range=(low, high),
            lr_valid=arrays["lr_valid"],
            band_count=int(arrays["band_count"]),
            fused=arrays["fused"],
            passed=from_arrays(PassedBands, part("passed", arrays)),
            ground=from_arrays(ChangedGround, part("ground", arrays)),
            possible=from_arrays(PossibleValues, part("possible", arrays)),
            missing=from_arrays(MissingBands, part("missing", arrays)),
            lost=from_arrays(Lost, part("lost", arrays)),
            fill=_fill_of(arrays["fill"]),
            msi_factor=factor,
            msi_offset=offset,
        )


def _fill_of(rows: NDArray[Any]) -> Fill:
    found: tuple[list[ProbableFill], list[ProbableFill]] = [], []
    for at, value, share, at_border, other in rows.tolist():
        found[int(at)].append(ProbableFill(value, share, bool(at_border), other))
    return tuple(found[0]), tuple(found[1])


def prepare_scene(
    pair: PairReader,
    method: EndPoint,
    sampler: Sampler | None,
    observed: ObservedScene | None = None,
    covariance: Covariance | None = None,
    large: LargeArrays = IN_MEMORY,
    evaluator: Evaluator = ON_PROCESSOR,
) -> PreparedScene:
    """Work out everything scene-wide of a pair, in passes over the MSI by strips.

    `observed`: the pair at LR; None: it is observed here. `covariance`: of a kriging; None: the one that the pair
    asks for where kriging is the method itself. `large`: where what grows with the scene is put; `evaluator`: who
    works at HR pixels. A model with fixed bands sees the unusable ones interpolated between the others. LR pixels
    that the rest of the pair contradicts take no part in what is found on the scene.
    """
    observed = observed or observe_scene(pair, large)
    seen, lr, unusable = observed.seen, observed.lr, observed.unusable
    hsi = lr.hsi
    order = BandOrder() if sampler is None else BandOrder.of(sampler.config, pair.lr_info, pair.msi_info)
    offset = 0.0 if sampler is None else _msi_offset(sampler, pair, order, lr, ~unusable)
    if offset:
        pair, lr = pair.without_offset(offset), replace(lr, msi=lr.msi - np.float32(offset))
        seen = replace(seen, msi_at_lr=seen.msi_at_lr - np.float32(offset))
    factor = 1.0 if sampler is None else _msi_factor(sampler, pair, order, lr, ~unusable)
    if factor != 1:
        pair, seen = pair.rescaled(factor), _rescaled(seen, factor)
        lr = replace(lr, msi=(lr.msi * np.float32(factor)).astype(np.float32))
    all_bands = not unusable.any() or (sampler is not None and sampler.config.fixed_bands)
    fused = np.arange(len(hsi)) if all_bands else np.flatnonzero(~unusable)
    fitted = lr if all_bands else replace(lr, hsi=observed.usable_hsi)
    arranged = order.among(fused)
    calibration = None if sampler is None else _calibration(sampler, arranged, fitted, ~unusable[fused])
    if calibration is None:
        basis = observed.own_basis if METHODS[method].subspace else choose_basis(fitted, 0)
    else:
        basis = calibration.basis
    end_point = method if sampler is None else sampler.config.end_point
    if covariance is None:
        covariance = observed.covariance if sampler is None and method == "kriging" else USUAL
    return PreparedScene(
        pair=pair,
        end=find_end_point(
            *(fitted, pair.strips, pair.resampling, end_point, basis, covariance, sampler is None),
            *(large, evaluator),
        ),
        covariance=covariance,
        large=large,
        evaluator=evaluator,
        channels=None if calibration is None else calibration.channels,
        edge_range=seen.edge_range,
        lr_valid=observed.lr_valid,
        band_count=len(hsi),
        fused=fused,
        passed=observed.passed,
        ground=observed.ground,
        possible=observed.possible.take(fused, unusable),
        missing=observed.missing.take(fused),
        lost=observed.lost,
        fill=observed.fill,
        msi_factor=factor,
        msi_offset=offset,
    )


def _rescaled(seen: Observation, factor: float) -> Observation:
    low, high = seen.edge_range
    msi = (seen.msi_at_lr * np.float32(factor)).astype(np.float32)
    return replace(seen, msi_at_lr=msi, edge_range=(low * factor, high * factor))


def _msi_offset(
    sampler: Sampler, pair: PairReader, order: BandOrder, lr: LrScene, usable: NDArray[np.bool_]
) -> float:
    """Offset of all MSI bands over the HSI's beside them; 0 without."""
    if not (lr.valid.any() and usable.any()):
        return 0.0
    lr = order.of_scene(lr)
    return common_offset(lr, _beside(sampler, pair, order, lr, order.of_hsi(usable)))


def _beside(
    sampler: Sampler, pair: PairReader, order: BandOrder, lr: LrScene, usable: NDArray[np.bool_]
) -> tuple[int, ...]:
    """The HSI band beside each MSI band, all in the model's order."""
    hsi, msi = pair.lr_info.bands, pair.msi_info.bands
    if order.hsi is not None:
        hsi = hsi.take(order.hsi.tolist())
    return nearest_bands(lr, usable, hsi.wavelengths_nm, sampler.config.msi_centres_nm or msi.wavelengths_nm)


def _msi_factor(
    sampler: Sampler, pair: PairReader, order: BandOrder, lr: LrScene, usable: NDArray[np.bool_]
) -> float:
    """Factor that brings the MSI onto the scale of the model's archive; 1 where the model has none."""
    calibration = sampler.calibration
    if calibration is None or not (lr.valid.any() and usable.any()):
        return 1.0
    lr, usable = order.of_scene(lr), order.of_hsi(usable) & calibration.basis.known
    beside = _beside(sampler, pair, order, lr, usable)
    known = known_relations(calibration, beside)
    return 1.0 if known is None else msi_factor(scale_relations(lr, beside), known)


def _calibration(
    sampler: Sampler, order: BandOrder, scene: LrScene, usable: NDArray[np.bool_]
) -> Calibration:
    """The model's calibration, or the scene's own, for bands in the order of the scene.

    Raises UnfitModelError when the values are in other units.
    """
    scene, usable = order.of_scene(scene), order.of_hsi(usable)
    if sampler.calibration is None:
        return order.in_files(calibrate(sampler.config, [scene], usable))
    usual = usual_levels(sampler.calibration)
    hsi = scene.hsi[usable & sampler.calibration.basis.known]
    for name, values, level in zip(("LR-HSI", "HR-MSI"), (hsi, scene.msi), usual, strict=True):
        found = float(np.abs(values[:, scene.valid]).mean()) if scene.valid.any() else level
        if not level / _UNIT_FACTOR <= found <= level * _UNIT_FACTOR:
            raise UnfitModelError(
                f"the {name}'s values are on average {found:.3g}, those the model was trained on {level:.3g}: "
                "they seem to be in other units; record the scale in the file (reflectance scale factor or GDAL's)"
            )
    return order.in_files(sampler.calibration)

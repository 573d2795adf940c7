"""The scenes on which samplers are trained, tuned and tested, and the pairs that are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from emrdiff_cli.core.diffusion.supervision import SupervisedPair
from tests.benchmarks.learned.grounds import Conditions, Cube, Doubles, make_pair, read_grounds
from tests.benchmarks.sampling.made import Made, made_scene

Part = Literal["train", "tune", "test", "confirming"]
FAMILIES = ("real", "metamers", "edges")
_HSI_DB, _MSI_DB = 40.0, 45.0
_MADE_RATIO = 8
_MADE_OF_ONE = 4  # made scenes to learn from of a scene's spectra
_TUNED = "abu_airport_3"
_CAVE_SIDE = 120
_LA, _CAVE, _BERLIN = "aviris_la205", "cave/train", "berlin"
_TESTED = ("aviris_other", "berlin9")
_FRESH = 100  # from which on seeds draw the confirming scenes


@dataclass(frozen=True)
class Bands:
    """Numbers of a sensor's bands, from 0.

    `visible`: blue, green, red, each seen through so many bands on both `sides`; `pan`: below which the PAN sees;
    `swir`: from which on, about 1000 nm, is judged; `index`: about 860, 1650 and 2200 nm.
    """

    visible: tuple[int, int, int]
    sides: int
    pan: int
    swir: int
    index: tuple[int, int, int]

    @classmethod
    def of(cls, folder: str, count: int) -> Bands:
        """Those of the sensor of a folder of DATA. AVIRIS' scenes record no wavelengths: theirs are near enough."""
        if folder == _CAVE:
            return cls((6, 15, 22), 1, count, count, (0, 0, 0))
        if folder == "enmap_potsdam":
            return cls((15, 29, 42), 3, 51, 101, (78, 153, 190))
        if folder == "berlin9":
            return cls((2, 7, 14), 1, 17, 38, (28, 73, 96))
        if folder == _BERLIN:
            return cls((13, 27, 45), 3, 51, 99, (71, 145, 185))
        return cls((12, 20, 30), 3, 34, 66, (50, round(0.61 * count), round(0.83 * count)))

    def response(self, kind: str, count: int) -> Doubles:
        """The response (m, B) of a `pan` or of `rgb`."""
        number = np.arange(count)
        if kind == "pan":
            boxes = (number < self.pan)[None].astype(np.float64)
        else:
            away = np.abs(number - np.array(self.visible)[:, None])
            boxes = (away <= self.sides).astype(np.float64)
        return np.asarray(boxes / boxes.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class PlannedPair:
    """A pair to make: `scene` of `folder`, its MSI `kind` and `ratio`; `made` of its spectra, None for itself."""

    part: Part
    folder: str
    scene: str
    kind: str
    ratio: int
    made: Made | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """The pair's."""
        made = f"-{self.made}{self.seed}" if self.made else ""
        return f"{self.scene}{made}-{self.kind}-x{self.ratio}"

    @property
    def family(self) -> str:
        """What is told of together."""
        return self.made or "real"

    def make(self, data: Path) -> tuple[SupervisedPair, Bands]:
        """The pair, in units of its scene's 99.9 % quantile, with noise of 40 dB (LR-HSI) and 45 dB (MSI)."""
        truth = _truths(data, self.folder)[self.scene]
        bands = Bands.of(self.folder, len(truth))
        response = bands.response(self.kind, len(truth))
        rng = np.random.default_rng([self.seed, self.ratio, *self.name.encode()])
        if self.made:
            truth = made_scene(self.made, truth, response, rng)
        elif self.folder == _CAVE:
            margin = (truth.shape[1] - _CAVE_SIDE) // 2
            truth = truth[:, margin : margin + _CAVE_SIDE, margin : margin + _CAVE_SIDE]
        conditions = Conditions(self.ratio, hsi_db=_HSI_DB, msi_db=_MSI_DB)
        return make_pair(truth, response, conditions, rng), bands


def planned(data: Path, part: Part) -> list[PlannedPair]:
    """The pairs of a part."""
    return list(
        {"train": _to_train, "tune": _to_tune, "test": _to_test, "confirming": _to_confirm}[part](data)
    )


def _to_train(data: Path) -> Iterator[PlannedPair]:
    for scene in _truths(data, _LA):
        if scene != _TUNED:
            yield from (PlannedPair("train", _LA, scene, kind, ratio) for ratio, kind in _every((6, 8, 10)))
            yield from _made("train", _LA, scene, _MADE_OF_ONE)
    for scene in _truths(data, "enmap_potsdam"):
        for ratio, kind in _every((6, 8)):
            yield PlannedPair("train", "enmap_potsdam", scene, kind, ratio)
    for number, scene in enumerate(_truths(data, _CAVE)):
        yield PlannedPair("train", _CAVE, scene, "pan", (6, 8, 10)[number % 3])


def _to_tune(data: Path) -> Iterator[PlannedPair]:
    yield from _real("tune", _LA, _TUNED)
    yield from _made("tune", _LA, _TUNED, 2)


def _to_test(data: Path) -> Iterator[PlannedPair]:
    for folder in _TESTED:
        for scene in _truths(data, folder):
            yield from _real("test", folder, scene)
            yield from _made("test", folder, scene, 1)


def _to_confirm(data: Path) -> Iterator[PlannedPair]:
    """A scene that no other part reads, at the ratios that it has pixels for, and fresh draws of made ones."""
    for scene in _truths(data, _BERLIN):
        yield from (PlannedPair("confirming", _BERLIN, scene, kind, ratio) for ratio, kind in _every((4, 6)))
    for folder in (_BERLIN, *_TESTED):
        for scene in _truths(data, folder):
            yield from _made("confirming", folder, scene, 1, _FRESH)


def _real(part: Part, folder: str, scene: str) -> Iterator[PlannedPair]:
    yield PlannedPair(part, folder, scene, "pan", 6)
    yield PlannedPair(part, folder, scene, "rgb", 10)


def _made(part: Part, folder: str, scene: str, count: int, first: int = 0) -> Iterator[PlannedPair]:
    for seed in range(first, first + count):
        yield PlannedPair(part, folder, scene, "rgb", _MADE_RATIO, "metamers", seed)
        yield PlannedPair(part, folder, scene, "pan", _MADE_RATIO, "edges", seed)


def _every(ratios: tuple[int, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((ratio, kind) for ratio in ratios for kind in ("pan", "rgb"))


@cache
def _truths(data: Path, folder: str) -> dict[str, Cube]:
    return {ground.name: ground.truth for ground in read_grounds(data, folder, data)}

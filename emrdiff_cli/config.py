"""Configurations: frozen, validated when made, an unknown key is an error."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from emrdiff_cli.errors import ConfigError
from emrdiff_cli.methods import EndPoint

Residual = Literal["multimodal", "unimodal", "none"]
Noise = Literal["edge", "gaussian"]
PseudoMsi = Literal["first", "last", "even", "srf"]
CalibrationSource = Literal["archive", "scene"]
Units = Literal["residual", "range"]
GuidanceExtra = Literal["unexplained", "local-detail"]
Gates = Literal["training", "tile"]
ChainState = Literal["truth", "own"]
Optimizer = Literal["muon", "adamw"]


MOST_STEPS = 1000  # of a chain: each is a pass of the network, and the papers' have up to so many


@dataclass(frozen=True)
class ModelConfig:
    """Architecture and scaling of a model: all that fixes the function from a pair to its HR-HSI but the weights.

    `subspace`: dimensions k of the spectral basis; 0 keeps all bands (the paper's). `calibration`: basis and
    channel scales are those of the `archive`, kept with the weights, or each `scene`'s own, with which a
    model takes any number of bands. `units`: `residual` runs the chain in units of each channel's residual,
    as a difference to the end point; `range` on values scaled to [-1, 1] (the paper's). `width` 0 is the
    chain's channel count.
    `gates`: a block's branches are weighed by their averages over the `tile` (the paper's), or by the mean
    of those over `training` patches, which makes a pixel independent of the tile that it is computed in.
    `detail_filter`: side of a linear filter that refines the end point's detail, fitted on the archive before
    training; 0: none. `lateral_colour`: it follows the lens' lateral chromatic aberration too, by the distance
    from the image's centre; for cameras of which an image is a whole frame, or the middle of one.
    `tile`: side in HR pixels that the model was trained on and is best run at. Found in training:
    `residual_gain`, each channel's residual at HR over what the LR pixels leave unexplained, and the HSI's
    and MSI's wavelengths; by those of its bands a scene's are found, in whatever order it has them.
    """

    msi_bands: int
    ratio: float
    hsi_bands: int = 0
    end_point: EndPoint = "kriging"
    subspace: int = 12
    calibration: CalibrationSource = "archive"
    pseudo_msi: PseudoMsi = "first"
    residual: Residual = "multimodal"
    noise: Noise = "edge"
    steps: int = 5
    kappa: float = 0.5
    power: float = 0.3
    units: Units = "residual"
    guidance_extras: tuple[GuidanceExtra, ...] = ("unexplained", "local-detail")
    gates: Gates = "training"
    width: int = 0
    levels: int = 3
    detail_filter: int = 0
    lateral_colour: bool = False
    tile: int = 64
    residual_gain: tuple[float, ...] = ()
    hsi_range_nm: tuple[float, ...] = ()
    hsi_centres_nm: tuple[float, ...] = ()
    msi_centres_nm: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_numbers(self)
        _check(self.msi_bands >= 1, "msi_bands", self.msi_bands, "at least 1")
        _check(self.ratio > 1, "ratio", self.ratio, "above 1")
        _check(1 <= self.steps <= MOST_STEPS, "steps", self.steps, f"1 to {MOST_STEPS}")
        _check(self.kappa >= 0, "kappa", self.kappa, "0 or more")
        _check(self.power > 0, "power", self.power, "above 0")
        _check(self.subspace >= 0, "subspace", self.subspace, "0 (all bands) or more")
        _check(not self.fixed_bands or self.hsi_bands > 0, "hsi_bands", self.hsi_bands, "the band count")
        _check(self.subspace <= self.hsi_bands or not self.hsi_bands, "subspace", self.subspace, "at most B")
        _check(1 <= self.levels <= 8, "levels", self.levels, "1 to 8")
        _check(self.width >= 0, "width", self.width, "0 (the chain's channels) or more")
        odd = self.detail_filter % 2 == 1 or self.detail_filter == 0
        _check(
            odd and 0 <= self.detail_filter <= 15,
            "detail_filter",
            self.detail_filter,
            "0, or odd, at most 15",
        )
        _check(
            not self.detail_filter or self.calibration == "archive",
            "detail_filter",
            self.detail_filter,
            "0 with calibration = scene",
        )
        _check(
            self.detail_filter > 0 or not self.lateral_colour,
            "lateral_colour",
            self.lateral_colour,
            "false without a detail_filter",
        )
        _check(len(self.hsi_range_nm) in (0, 2), "hsi_range_nm", self.hsi_range_nm, "two numbers, or none")
        listed = len(self.hsi_centres_nm)
        _check(listed in (0, self.hsi_bands), "hsi_centres_nm", listed, "a number an HSI band, or none")
        centres = self.msi_centres_nm
        _check(
            len(centres) in (0, self.msi_bands), "msi_centres_nm", centres, "a number an MSI band, or none"
        )
        _check(self.tile % self.stride == 0, "tile", self.tile, f"a multiple of {self.stride}")

    @property
    def fixed_bands(self) -> bool:
        """True when the model takes exactly `hsi_bands`."""
        return self.subspace == 0 or self.calibration == "archive"

    @property
    def hsi_channels(self) -> int:
        """Channels of the chain that carry the HSI: k, or B with the full basis."""
        return self.subspace or self.hsi_bands

    @property
    def channels(self) -> int:
        """Channels C of the chain: the HSI's, and with the multimodal residual the pseudo-MSI's."""
        return self.hsi_channels + (0 if self.residual == "unimodal" else self.msi_bands)

    @property
    def guidance_channels(self) -> int:
        """Channels that the guidance branch sees: A_0 and the extras."""
        return self.hsi_channels * (1 + len(self.guidance_extras)) + self.msi_bands

    @property
    def stride(self) -> int:
        """Tile sides are multiples of this."""
        return int(2 ** (self.levels - 1))


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training.

    `chain`: X'_t is built from the `truth` (the paper's), or from the network's `own` prediction at t = T.
    Own: a batch is trained at t = T and, in `later_share` of the iterations, at a later step too.
    `optimizer`: `weight_decay` is for `adamw`, `muon` has none.
    `amplitude_power` p: a channel of the HSI weighs (its residual's size)^p in the loss, 0 all alike, 1 as in
    the image; `pseudo_weight` is what a pseudo-MSI channel weighs beside the mean of those.
    `scene_power` p: a scene weighs (its own residual's size)^-p in each channel: 0 pixels alike, 1 scenes alike.
    """

    iterations: int = 3000
    batch: int = 4
    patch: int = 64
    optimizer: Optimizer = "muon"
    learning_rate: float = 4e-3
    weight_decay: float = 0.0
    warmup: int = 100
    ema: float = 0.995
    chain: ChainState = "own"
    later_share: float = 0.5
    scales: int = 4
    amplitude_power: float = 0.5
    pseudo_weight: float = 0.1
    scene_power: float = 0.0
    validate_every: int = 250
    checkpoint_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_numbers(self)
        for label in ("iterations", "batch", "patch", "validate_every", "checkpoint_every", "scales"):
            _check(getattr(self, label) >= 1, label, getattr(self, label), "at least 1")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _check(
            not (self.weight_decay and self.optimizer == "muon"),
            "weight_decay",
            self.weight_decay,
            "0 with muon",
        )
        _check(self.seed >= 0, "seed", self.seed, "0 or more")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _check(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        _check(0 <= self.later_share <= 1, "later_share", self.later_share, "in [0, 1]")


PAPER_MODEL: Mapping[str, Any] = {
    "end_point": "bicubic",
    "subspace": 0,
    "calibration": "archive",
    "pseudo_msi": "first",
    "residual": "multimodal",
    "noise": "edge",
    "steps": 5,
    "kappa": 1.0,
    "power": 0.3,
    "units": "range",
    "guidance_extras": (),
    "gates": "tile",
    "width": 0,
    "levels": 5,
    "detail_filter": 0,
    "lateral_colour": False,
}
PAPER_TRAINING: Mapping[str, Any] = {
    "chain": "truth",
    "optimizer": "adamw",
    "amplitude_power": 0.0,
    "pseudo_weight": 1.0,
}

ConfigT = TypeVar("ConfigT", ModelConfig, TrainConfig)


def build_config(kind: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Make a configuration from plain values (TOML, JSON); raises ConfigError on unknown keys or wrong types."""
    types = get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown option {key!r}: known are {', '.join(sorted(known))}")
        wanted = types[key]
        if wanted in (bool, int, float, str) and not _is(value, wanted):
            raise ConfigError(f"{key} = {value!r} is not of type {wanted.__name__}")
        if get_origin(wanted) is tuple and not isinstance(value, list | tuple):
            raise ConfigError(f"{key} = {value!r} is not a list")
    frozen: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        return kind(**frozen)
    except TypeError as error:
        raise ConfigError(str(error)) from error


def model_keys() -> set[str]:
    """Names of ModelConfig's options."""
    return {field.name for field in dataclasses.fields(ModelConfig)}


def train_keys() -> set[str]:
    """Names of TrainConfig's options."""
    return {field.name for field in dataclasses.fields(TrainConfig)}


def read_toml(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The [model] and [train] tables of a configuration file; raises ConfigError on anything else in it."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: cannot be read as TOML: nested too deeply") from error
    for name, table in tables.items():
        if name not in ("model", "train") or not isinstance(table, dict):
            raise ConfigError(f"{path}: unknown option {name!r}: a config has the tables [model] and [train]")
    return tables.get("model", {}), tables.get("train", {})


def _is(value: object, wanted: type) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, int | float if wanted is float else wanted)


def _check(holds: bool, name: str, value: object, limit: str) -> None:
    if not holds:
        raise ConfigError(f"{name} = {value!r}: must be {limit}")


def _check_numbers(config: ModelConfig | TrainConfig) -> None:
    """Every number is finite, every tuple of numbers holds numbers alone."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        numbers = value if isinstance(value, tuple) and field.name != "guidance_extras" else (value,)
        for number in numbers:
            if numbers is value and not _is(number, float):
                raise ConfigError(f"{field.name} = {value!r}: must hold numbers")
            if isinstance(number, int | float) and not abs(number) < 2**63:
                raise ConfigError(f"{field.name} = {value!r}: must be finite")


def _check_choices(config: ModelConfig | TrainConfig) -> None:
    """Hold every Literal field to its choices."""
    for name, wanted in get_type_hints(type(config)).items():
        value = getattr(config, name, None)
        if name == "guidance_extras":
            unknown = [v for v in value or () if v not in get_args(GuidanceExtra)]
            _check(not unknown, name, value, f"of {', '.join(get_args(GuidanceExtra))}")
        elif choices := [c for c in get_args(wanted) if isinstance(c, str)]:
            _check(value in choices, name, value, f"one of {', '.join(choices)}")

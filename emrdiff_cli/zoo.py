"""The models at hand: name or path -> model folder, which of them fits a pair, and their cards."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from emrdiff_cli.config import ModelConfig, build_config
from emrdiff_cli.core.band_matching import Positions, by_rank, in_direction, match_bands, unless_in_order
from emrdiff_cli.errors import ModelError, did_you_mean
from emrdiff_cli.raster_info import RasterInfo

WEIGHTS = "model.safetensors"
CARD = "card.md"
VALIDATED = "validated.json"
TRAINING = "training.toml"
CONFIG_KEY = "emrdiff_config"

_RATIO_TOLERANCE = 0.02
_CENTRE_TOLERANCE_NM = 30.0
_RANGE_TOLERANCE = 0.1  # of the HSI's spectral range, at either end


@dataclass(frozen=True)
class ZooModel:
    """A model folder: weights with their configuration, and a card."""

    name: str
    folder: Path
    config: ModelConfig

    @property
    def card(self) -> str:
        """The card's text, without signs that steer a terminal; empty where there is none."""
        path = self.folder / CARD
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())

    @property
    def gain_over_kriging_db(self) -> float | None:
        """By how many dB it was better than kriging on what its training held out; None where that is not known."""
        try:
            gain = self._validated()["gain_over_kriging_db"]
            return float(gain) if math.isfinite(gain) else None
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def held_out(self) -> str:
        """What its training held out, in words; empty where that is not recorded."""
        text = str(self._validated().get("held_out", ""))
        return "".join(sign for sign in text if sign.isprintable())

    def _validated(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / VALIDATED).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def megabytes(self) -> float:
        """Size of the weights in MB."""
        return (self.folder / WEIGHTS).stat().st_size / 1e6


def shipped() -> list[ZooModel]:
    """The models that come with the package, by name."""
    folders = sorted(weights.parent for weights in _root().glob(f"*/{WEIGHTS}"))
    return [ZooModel(folder.name, folder, read_config(folder / WEIGHTS)) for folder in folders]


def _root() -> Path:
    """The folder of the shipped models: in the package where it is installed, beside it in a source tree."""
    package = Path(str(files("emrdiff_cli")))
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def find(name_or_path: str) -> ZooModel:
    """A shipped model by name, or a model folder by path; raises ModelError for neither."""
    for model in shipped():
        if model.name == name_or_path:
            return model
    folder = Path(name_or_path)
    if (folder / WEIGHTS).is_file():
        return ZooModel(folder.resolve().name, folder, read_config(folder / WEIGHTS))
    names = ", ".join(model.name for model in shipped()) or "none"
    near = did_you_mean(name_or_path, (model.name for model in shipped()))
    raise ModelError(f"model {name_or_path}: no folder with {WEIGHTS}, nor a shipped model ({names}){near}")


def match(lr: RasterInfo, msi: RasterInfo, ratio: float) -> ZooModel:
    """The shipped model made for pairs like this one; raises ModelError where none is."""
    if lr.bands.wavelengths_nm is None:
        raise ModelError(
            f"{lr.path.name} has no wavelengths, by which a model is found: write them into the file, name a "
            "model (--model), or use --method kriging"
        )
    fitting = [model for model in shipped() if fits(model.config, lr, msi, ratio)]
    if not fitting:
        raise ModelError(
            f"no shipped model is made for {lr.bands.count} HSI bands and {msi.bands.count} MSI bands at ratio "
            f"{ratio:.3g} of this sensor: train one (`emrdiff train --scene {lr.path.name} {msi.path.name} "
            "-o FOLDER`), name one (--model), or use --method kriging"
        )
    return min(fitting, key=lambda model: abs(model.config.ratio - ratio))


def fits(config: ModelConfig, lr: RasterInfo, msi: RasterInfo, ratio: float) -> bool:
    """True when the ratio, the MSI's bands and the HSI's spectral range are those of the model's training."""
    if config.msi_bands != msi.bands.count or abs(config.ratio / ratio - 1) > _RATIO_TOLERANCE:
        return False
    if config.fixed_bands and config.hsi_bands != lr.bands.count:
        return False
    return all(_spectrally_near(config, lr, msi))


def hsi_order(config: ModelConfig, lr: RasterInfo) -> Positions | None:
    """Positions (0-based) in an LR-HSI of a model's bands, by wavelength; None where they stand as in the file.

    None too without wavelengths. A model that takes any bands has them in the direction of its training. Raises
    ModelError where one of a model's fixed bands is not there.
    """
    found, wanted = lr.bands.wavelengths_nm, config.hsi_centres_nm
    if found is None:
        return None
    positions = match_bands(wanted, found)
    if positions is None and not config.fixed_bands:
        positions = in_direction(wanted, found)
    if positions is None and not wanted and list(found) == sorted(found):
        return None
    if positions is None:
        why = "its bands are not at the model's wavelengths"
        if not wanted:
            why = "its bands do not ascend in wavelength, and the model does not record its own"
        raise ModelError(
            f"{lr.path.name}: {why}: choose another model (`emrdiff models`), train one (`emrdiff train --scene`), "
            "or use --method kriging"
        )
    return unless_in_order(positions)


def msi_order(config: ModelConfig, msi: RasterInfo) -> Positions | None:
    """Positions (0-based) in an HR-MSI of a model's bands, by the ranks of wavelengths; None as `hsi_order`."""
    found = msi.bands.wavelengths_nm
    if found is None or len(config.msi_centres_nm) != len(found):
        return None
    return unless_in_order(by_rank(config.msi_centres_nm, found))


def read_config(path: Path) -> ModelConfig:
    """The configuration in a weights file, without its weights; raises ModelError when it holds none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as a model: {error}") from error
    if CONFIG_KEY not in metadata:
        raise ModelError(f"{path}: holds no emrdiff configuration: it was not written by `emrdiff train`")
    try:
        values = json.loads(metadata[CONFIG_KEY])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: the configuration in it is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: the configuration in it is damaged: it is no table of options")
    return build_config(ModelConfig, values)


def _spectrally_near(config: ModelConfig, lr: RasterInfo, msi: RasterInfo) -> Iterator[bool]:
    if not config.hsi_range_nm or lr.bands.wavelengths_nm is None:
        # Where neither tells, there is nothing to say against it.
        yield not config.hsi_range_nm and lr.bands.wavelengths_nm is None
        return
    low, high = config.hsi_range_nm
    slack = _RANGE_TOLERANCE * (high - low)
    yield abs(min(lr.bands.wavelengths_nm) - low) <= slack
    yield abs(max(lr.bands.wavelengths_nm) - high) <= slack
    if config.fixed_bands and config.hsi_centres_nm:
        yield match_bands(config.hsi_centres_nm, lr.bands.wavelengths_nm) is not None
    if config.msi_centres_nm and msi.bands.wavelengths_nm is not None:
        centres = zip(sorted(config.msi_centres_nm), sorted(msi.bands.wavelengths_nm), strict=True)
        yield all(abs(a - b) <= _CENTRE_TOLERANCE_NM for a, b in centres)

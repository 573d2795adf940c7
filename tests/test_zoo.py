"""Model folders: found by name, path or match; the shipped ones whole, small and true to their cards."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from safetensors.torch import load_file, save_file

from emrdiff_cli import zoo
from emrdiff_cli.checkpoint import load_model, save_model
from emrdiff_cli.config import ModelConfig, TrainConfig, build_config, read_toml
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.errors import ConfigError, ModelError
from emrdiff_cli.raster_info import Bands, Grid, RasterInfo
from tests.support.rasters import NORTH_UP

SHIPPED = zoo.shipped()
HSI_NM, MSI_NM = tuple(range(400, 1000, 100)), (450.0, 550.0, 650.0)


def config(**changes: Any) -> ModelConfig:
    usual: dict[str, Any] = {"msi_bands": 3, "hsi_bands": 6, "ratio": 4.0, "subspace": 4, "levels": 2}
    usual |= {"hsi_range_nm": (400.0, 900.0), "msi_centres_nm": MSI_NM}
    return ModelConfig(**usual | changes)


def untrained(**changes: Any) -> EMRDiff:
    """A model as training leaves it, but for the training."""
    model = EMRDiff(config(**changes))
    if model.config.gates == "training":
        model.network.allot_averages()
    return model


def folder(parent: Path, name: str = "model", **changes: Any) -> Path:
    path = parent / name
    path.mkdir()
    torch.manual_seed(0)
    save_model(untrained(**changes), path / zoo.WEIGHTS)
    return path


def info(bands: int, nm: tuple[float, ...] | None) -> RasterInfo:
    return RasterInfo(
        Path("a.tif"), "GTiff", Grid(8, 8, NORTH_UP @ Affine.scale(1)), Bands(bands, nm), "float32"
    )


def test_shipped_models_load_strictly_and_are_small() -> None:
    for model in SHIPPED:
        loaded = load_model(model.folder / zoo.WEIGHTS)
        assert loaded.config == model.config
        assert all(torch.isfinite(value).all() for value in loaded.state_dict().values()), model.name
        assert model.megabytes < 12, model.name


def test_shipped_folders_are_named_and_filled_as_packaging_needs() -> None:
    for model in SHIPPED:
        assert "-" in model.name
        assert {zoo.WEIGHTS, zoo.CARD, zoo.TRAINING} <= {path.name for path in model.folder.iterdir()}


def test_shipped_cards_tell_what_the_models_are_for() -> None:
    for model in SHIPPED:
        card, settings = model.card, model.config
        assert card.startswith(f"# {model.name}\n")
        assert f"Ratio: {settings.ratio:g}" in card
        assert f"MSI: {settings.msi_bands} bands" in card
        assert str(settings.hsi_bands) in card
        assert "No note was given" not in card
        gain = model.gain_over_kriging_db
        assert gain is not None
        assert f"{gain:.2f} dB less" in card


def test_trainings_of_shipped_models_can_be_repeated() -> None:
    for model in SHIPPED:
        from_model, from_train = read_toml(model.folder / zoo.TRAINING)
        build_config(TrainConfig, from_train)
        found = {key: getattr(model.config, key) for key in from_model}
        assert found == {k: tuple(v) if isinstance(v, list) else v for k, v in from_model.items()}


def test_shipped_models_are_found_for_the_pairs_they_were_made_for() -> None:
    for model in SHIPPED:
        settings = model.config
        hsi, msi = settings.hsi_centres_nm, settings.msi_centres_nm
        assert (min(hsi), max(hsi)) == settings.hsi_range_nm
        for turned, seen in ((hsi, msi), (hsi[::-1], msi[::-1])):
            pair = info(settings.hsi_bands, turned), info(settings.msi_bands, seen)
            assert model in [m for m in SHIPPED if zoo.fits(m.config, *pair, settings.ratio)]
        unlike = tuple(np.geomspace(hsi[0], hsi[-1], settings.hsi_bands))
        pair = info(settings.hsi_bands, unlike), info(settings.msi_bands, msi)
        assert not zoo.fits(settings, *pair, settings.ratio)


def test_shipped_models_are_listed_by_name() -> None:
    names = [model.name for model in SHIPPED]
    assert names == sorted(set(names))


@pytest.mark.parametrize("gates", ["training", "tile"])
def test_weights_and_configuration_come_back(tmp_path: Path, gates: str) -> None:
    torch.manual_seed(1)
    model = untrained(residual_gain=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), gates=gates)
    save_model(model, tmp_path / zoo.WEIGHTS)
    loaded = load_model(tmp_path / zoo.WEIGHTS)
    assert loaded.config == model.config == zoo.read_config(tmp_path / zoo.WEIGHTS)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training


def test_a_models_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            save_model(untrained(), tmp_path / zoo.WEIGHTS)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / zoo.WEIGHTS).stat().st_mode) == mode


def test_a_folder_is_found_by_its_path_and_the_rest_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, "mine")
    found = zoo.find(str(path))
    assert (found.name, found.config, found.card) == ("mine", config(), "")
    (path / zoo.CARD).write_text("# mine\n")
    assert zoo.find(str(path)).card == "# mine\n"
    with pytest.raises(ModelError, match=r"nowhere: no folder with model\.safetensors"):
        zoo.find("nowhere")
    with pytest.raises(ModelError):
        zoo.find(str(tmp_path))


def resave(path: Path, change: dict[str, Any], metadata: dict[str, str] | None) -> None:
    state = load_file(path)
    for name, value in change.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    save_file(state, path, metadata=metadata)


@pytest.mark.parametrize(
    "change",
    [
        {"network.middle.gate.weight": None},
        {"network.extra": torch.zeros(3)},
        {"network.middle.gate.weight": torch.zeros(1)},
        {"hsi_scale": None},
        {"network.middle.averages": None},
    ],
    ids=["missing", "unknown", "another shape", "no calibration", "gates not settled"],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = folder(tmp_path) / zoo.WEIGHTS
    resave(path, change, {zoo.CONFIG_KEY: json.dumps(asdict(config()))})
    with pytest.raises(ModelError, match="do not fit"):
        load_model(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [("{", ModelError), ("[1]", ModelError), ('{"msi_bands": 3, "ratio": 4, "magic": 1}', ConfigError)],
)
def test_configurations_that_are_none_are_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    path = folder(tmp_path) / zoo.WEIGHTS
    resave(path, {}, {zoo.CONFIG_KEY: text})
    with pytest.raises(error):
        zoo.read_config(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None], ids=["empty", "text", "cut"])
def test_files_that_are_no_model_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = folder(tmp_path) / zoo.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    for read in (zoo.read_config, load_model):
        with pytest.raises(ModelError, match="cannot be read as a model"):
            read(path)


def test_weights_of_another_tool_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path) / zoo.WEIGHTS
    resave(path, {}, None)
    with pytest.raises(ModelError, match="no emrdiff configuration"):
        zoo.read_config(path)


@pytest.mark.parametrize(
    ("changes", "hsi", "msi", "ratio", "fits"),
    [
        ({}, HSI_NM, MSI_NM, 4.0, True),
        ({}, HSI_NM, MSI_NM, 4.05, True),
        ({}, HSI_NM, MSI_NM, 4.2, False),
        ({}, HSI_NM, (*MSI_NM, 800.0), 4.0, False),
        ({}, HSI_NM[:5], MSI_NM, 4.0, False),
        ({}, None, MSI_NM, 4.0, False),
        ({}, tuple(nm + 200 for nm in HSI_NM), MSI_NM, 4.0, False),
        ({}, HSI_NM, None, 4.0, True),
        ({}, HSI_NM, (450.0, 550.0, 700.0), 4.0, False),
        ({}, HSI_NM, MSI_NM[::-1], 4.0, True),
        ({"hsi_centres_nm": HSI_NM}, HSI_NM[::-1], MSI_NM, 4.0, True),
        ({"hsi_centres_nm": HSI_NM}, (400, 440, 600, 700, 800, 900), MSI_NM, 4.0, False),
        ({"calibration": "scene"}, (*HSI_NM[:-1], 850.0, 900.0), MSI_NM, 4.0, True),
        ({"hsi_range_nm": ()}, HSI_NM, MSI_NM, 4.0, False),
        ({"hsi_range_nm": ()}, None, None, 4.0, True),
        ({"hsi_range_nm": ()}, None, None, 8.0, False),
    ],
)
def test_a_model_fits_pairs_like_those_it_was_made_for(
    changes: dict[str, Any],
    hsi: tuple[float, ...] | None,
    msi: tuple[float, ...] | None,
    ratio: float,
    fits: bool,
) -> None:
    lr = info(6 if hsi is None else len(hsi), hsi)
    hr = info(3 if msi is None else len(msi), msi)
    assert zoo.fits(config(**changes), lr, hr, ratio) == fits


def test_of_several_that_fit_the_nearest_ratio_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [zoo.find(str(folder(tmp_path, f"x{ratio}", ratio=ratio))) for ratio in (3.96, 4.0, 4.04)]
    monkeypatch.setattr(zoo, "shipped", lambda: found)
    assert zoo.match(info(6, HSI_NM), info(3, MSI_NM), 4.03).name == "x4.04"
    assert zoo.match(info(6, HSI_NM), info(3, MSI_NM), 4.001).name == "x4.0"
    with pytest.raises(ModelError, match=r"no shipped model .* 6 HSI bands and 3 MSI bands at ratio 8"):
        zoo.match(info(6, HSI_NM), info(3, MSI_NM), 8.0)

"""Configurations: what is not known, of the wrong type or out of range is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest

from emrdiff_cli.config import (
    PAPER_MODEL,
    PAPER_TRAINING,
    ModelConfig,
    Noise,
    PseudoMsi,
    Residual,
    TrainConfig,
    build_config,
    model_keys,
    read_toml,
    train_keys,
)
from emrdiff_cli.errors import ConfigError

FACTS: dict[str, Any] = {"msi_bands": 4, "ratio": 8.0, "hsi_bands": 128, "levels": 5}


def model(**values: Any) -> ModelConfig:
    return build_config(ModelConfig, FACTS | values)


def test_unknown_options_are_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'kapa': known are .*kappa"):
        model(kapa=1.0)
    with pytest.raises(ConfigError, match="unknown option 'learning_rat'"):
        build_config(TrainConfig, {"learning_rat": 1e-3})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 2.5),
        ("steps", "5"),
        ("steps", True),
        ("kappa", "big"),
        ("kappa", False),
        ("subspace", None),
        ("end_point", 3),
        ("guidance_extras", 5),
        ("guidance_extras", "unexplained"),
    ],
)
def test_values_of_the_wrong_type(key: str, value: object) -> None:
    with pytest.raises(ConfigError):
        model(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("end_point", "nearest"),
        ("residual", "bimodal"),
        ("noise", "poisson"),
        ("pseudo_msi", "middle"),
        ("units", "percent"),
        ("calibration", "moon"),
        ("guidance_extras", ["unexplained", "x_0"]),
        ("msi_bands", 0),
        ("ratio", 1.0),
        ("steps", 0),
        ("steps", 1_000_000_000),
        ("kappa", -1.0),
        ("kappa", float("nan")),
        ("power", 0.0),
        ("subspace", -1),
        ("subspace", 129),
        ("levels", 0),
        ("levels", 9),
        ("width", -2),
        ("tile", 24),
    ],
)
def test_values_out_of_range_are_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{key} = "):
        model(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iterations", 0),
        ("batch", 0),
        ("patch", 0),
        ("learning_rate", 0.0),
        ("ema", 1.0),
        ("chain", "theirs"),
        ("scales", 0),
        ("later_share", 1.5),
    ],
)
def test_training_values_out_of_range_are_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{key} = "):
        build_config(TrainConfig, {key: value})


def test_whole_numbers_do_for_floats_and_lists_for_tuples() -> None:
    settings = model(kappa=2, guidance_extras=["unexplained"])
    assert (settings.kappa, settings.guidance_extras) == (2, ("unexplained",))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="ratio"):
        build_config(ModelConfig, {"msi_bands": 4})


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model(), "steps", 3)  # noqa: B010 (mypy would refuse the assignment, too)


@pytest.mark.parametrize("residual", get_args(Residual))
@pytest.mark.parametrize("noise", get_args(Noise))
@pytest.mark.parametrize("pseudo", get_args(PseudoMsi))
def test_every_choice_is_taken(residual: str, noise: str, pseudo: str) -> None:
    settings = model(residual=residual, noise=noise, pseudo_msi=pseudo)
    assert (settings.residual, settings.noise, settings.pseudo_msi) == (residual, noise, pseudo)


def test_channel_counts() -> None:
    assert (model(subspace=12).hsi_channels, model(subspace=0).hsi_channels) == (12, 128)
    assert (model(subspace=12).channels, model(subspace=12, residual="unimodal").channels) == (16, 12)
    assert model(subspace=12, guidance_extras=()).guidance_channels == 16
    assert model(subspace=12).guidance_channels == 12 * 3 + 4
    assert (model(levels=5).stride, model(levels=1, tile=7).stride) == (16, 1)


def test_only_a_model_calibrated_on_the_scene_takes_any_number_of_bands() -> None:
    assert model().fixed_bands
    assert model(calibration="scene", subspace=0).fixed_bands
    assert not model(calibration="scene").fixed_bands
    with pytest.raises(ConfigError, match="hsi_bands = 0"):
        model(hsi_bands=0)
    assert model(hsi_bands=0, calibration="scene").hsi_channels == 12


def test_paper_preset_is_the_papers_choice() -> None:
    paper, training = model(**PAPER_MODEL), build_config(TrainConfig, PAPER_TRAINING)
    assert (paper.end_point, paper.residual, paper.noise) == ("bicubic", "multimodal", "edge")
    assert (paper.steps, paper.kappa, paper.power, paper.levels) == (5, 1, 0.3, 5)
    assert (paper.subspace, paper.width, paper.pseudo_msi) == (0, 0, "first")
    assert paper.channels == paper.guidance_channels == 128 + 4
    assert (training.chain, training.amplitude_power, training.pseudo_weight) == ("truth", 0, 1)
    assert set(PAPER_MODEL) >= model_keys() - set(FACTS) - {
        "tile",
        *("residual_gain", "hsi_range_nm", "hsi_centres_nm", "msi_centres_nm"),
    }


def test_models_and_trainings_share_no_option() -> None:
    assert not model_keys() & train_keys()


def test_toml_has_two_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[model]\nend_point = "glp"\nguidance_extras = []\n[train]\niterations = 7\n')
    assert read_toml(path) == ({"end_point": "glp", "guidance_extras": []}, {"iterations": 7})
    path.write_text("")
    assert read_toml(path) == ({}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[modle]\nsteps = 5", "unknown option 'modle'"),
        ("steps = 5", "unknown option 'steps'"),
        ("model = 5", "unknown option 'model'"),
        ("[model", "cannot be read as TOML"),
    ],
)
def test_toml_that_holds_something_else(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_toml(path)


def test_toml_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "deep.toml").write_text("[model]\nsteps = " + "[" * 5000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_toml(tmp_path / "deep.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path / "latin.toml")

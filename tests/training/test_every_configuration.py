"""Every configuration of a model and its training: trained, stored, loaded, fused with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.config import PAPER_MODEL, PAPER_TRAINING
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.sampler import ModelSampler
from emrdiff_cli.training.examples import Examples, read_archive
from emrdiff_cli.training.loop import train
from emrdiff_cli.training.model_folder import make_job
from emrdiff_cli.zoo import WEIGHTS
from tests.support.pairs import BANDS, write_pair
from tests.support.scenes import read, textured
from tests.support.training_archives import RESPONSE, SMALL_MODEL, SMALL_TRAINING, write_archive

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return read_archive(write_archive(tmp_path_factory.mktemp("data") / "archive"), 4, RESPONSE, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "training_values"),
    [
        ({}, {}),
        ({"levels": 4}, {"chain": "truth"}),
        ({"subspace": 0}, {}),
        (PAPER_MODEL, PAPER_TRAINING),
        ({"residual": "unimodal"}, {}),
        ({"residual": "none"}, {}),
        ({"residual": "none", "units": "range", "kappa": 2.0}, {"chain": "truth"}),
        ({"noise": "gaussian"}, {}),
        ({"end_point": "glp", "guidance_extras": []}, {}),
        ({"end_point": "bicubic", "pseudo_msi": "srf"}, {}),
        ({"calibration": "scene", "pseudo_msi": "even"}, {}),
        ({"calibration": "scene", "residual": "unimodal", "subspace": 0}, {}),
        ({"steps": 1, "levels": 1}, {}),
        ({"gates": "tile"}, {}),
        ({"detail_filter": 0}, {}),
        ({"detail_filter": 5, "lateral_colour": True, "subspace": 0}, {}),
    ],
    ids=str,
)
def test_every_configuration_trains_and_fuses(
    examples: Examples, tmp_path: Path, model: dict[str, Any], training_values: dict[str, Any]
) -> None:
    short = {**SMALL_TRAINING, "iterations": 2, "validate_every": 2, **training_values}
    job = make_job(examples, {**SMALL_MODEL, **model}, short)
    (tmp_path / "model").mkdir()
    trained, history = train(job.training_set, job.model, job.training, str(tmp_path / "model"), CPU)
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())
    assert np.isfinite(history[-1].psnr_by_step_db).all()
    lr, msi = write_pair(tmp_path, 48, 40, seed=7)
    sampler = ModelSampler(load_model(tmp_path / "model" / WEIGHTS), CPU)
    report = fuse(lr, msi, tmp_path / "fused.tif", "bicubic", sampler, FusionOptions(tile=32))
    assert report.valid_share == 1
    fused = read(tmp_path / "fused.tif")
    assert fused.shape == (BANDS, 48, 40)
    if job.model.residual != "none":
        assert np.abs(fused - textured(BANDS, 48, 40, 7)).mean() < 0.1

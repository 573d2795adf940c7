"""Archives of small scenes, and a model and training small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from emrdiff_cli.core.sensor.srf import gaussian_response
from tests.support.pairs import BANDS
from tests.support.scenes import textured, write_cube

SIDE = 32
RESPONSE = gaussian_response([460, 560, 660], [70, 70, 70])
SMALL_MODEL: dict[str, Any] = {"levels": 2, "width": 4, "subspace": 4, "steps": 2}
SMALL_TRAINING: dict[str, Any] = {
    "iterations": 8,
    "batch": 2,
    "patch": 16,
    "warmup": 2,
    "validate_every": 3,
    "checkpoint_every": 2,
    "learning_rate": 3e-3,
}
Weights = dict[str, torch.Tensor]


def write_archive(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        write_cube(folder / f"scene-{number}.tif", textured(BANDS, SIDE, SIDE, number))
    return folder


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)

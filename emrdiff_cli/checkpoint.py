"""Model <-> safetensors with the configuration in the metadata; strict both ways."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.emr_diff import EMRDiff
from emrdiff_cli.errors import ModelError, WriteError
from emrdiff_cli.runtime.atomic import replacing
from emrdiff_cli.zoo import CONFIG_KEY, read_config

_MISFIT = (
    "{path}: the weights do not fit the configuration in the file: get the model again, or train it anew"
)


def save_model(model: EMRDiff, path: Path) -> None:
    """Write the weights in float32 and the configuration in one file, in one step. Raises WriteError."""
    config = json.dumps(dataclasses.asdict(model.config))
    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        with replacing(path) as part:
            part.touch()  # with the mode that a new file gets here; safetensors' own are its owner's alone
            mode = part.stat().st_mode
            save_file(state, part, metadata={CONFIG_KEY: config})
            part.chmod(mode)
    except SafetensorError as error:
        raise WriteError(f"{path}: cannot be written: {error}") from error


def load_model(path: Path, device: torch.device | str = "cpu") -> EMRDiff:
    """Read a model; raises ModelError when the file is no such model or its weights do not fit its config."""
    config = read_config(path)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            # Before anything is allocated by a configuration that may say what it will.
            if _shapes(config) != {name: file.get_slice(name).get_shape() for name in file.keys()}:  # noqa: SIM118 (no mapping)
                raise ModelError(_MISFIT.format(path=path))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as a model: {error}") from error
    model = _make(config).to(device)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(_MISFIT.format(path=path)) from error
    return model.eval().requires_grad_(False)


def _make(config: ModelConfig) -> EMRDiff:
    model = EMRDiff(config)
    if config.gates == "training":
        model.network.allot_averages()
    return model


def _shapes(config: ModelConfig) -> dict[str, list[int]] | None:
    """Shapes of the weights, by name, without making any; None where there can be none."""
    try:
        with torch.device("meta"):
            return {name: list(tensor.shape) for name, tensor in _make(config).state_dict().items()}
    except (RuntimeError, TypeError, ValueError, OverflowError):
        return None

"""The table of methods: each is fitted, kept as arrays, read back and offered wherever methods are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emrdiff_cli.arrays import from_arrays, part, to_arrays
from emrdiff_cli.cli.app import app
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.methods.scene_end_point import SceneEndPoint, fitted_class
from emrdiff_cli.errors import ConfigError
from emrdiff_cli.methods import END_POINTS, METHODS
from tests.support.pair_arrays import local_pair


@pytest.mark.parametrize("method", END_POINTS)
@pytest.mark.parametrize("subspace", [0, 2])
def test_a_fit_that_was_kept_as_arrays_gives_the_same_tiles(
    method: str, subspace: int, tmp_path: Path
) -> None:
    pair = local_pair()
    end = pair.end(method, subspace)
    arrays: dict[str, Any] = {f"end.{name}": array for name, array in to_arrays(end).items()}
    np.savez(tmp_path / "end.npz", **arrays)
    with np.load(tmp_path / "end.npz", allow_pickle=False) as stored:
        arrays = part("end", dict(stored))
    kept = from_arrays(SceneEndPoint, arrays, fitted=fitted_class(arrays["method"].item()))
    assert (kept.method, kept.fitted.window) == (method, end.fitted.window)
    assert (kept.outside is None) == (subspace == 0)
    one, other = (found.fitted.tile(pair.msi, *pair.maps.up) for found in (end, kept))
    for name in ("values", "detail", "local_detail", "msi_detail"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


def test_an_array_that_is_missing_is_named() -> None:
    arrays = to_arrays(local_pair().end("glp-local"))
    del arrays["fitted.window.ridge"]
    with pytest.raises(KeyError, match="ridge"):
        from_arrays(SceneEndPoint, arrays, fitted=fitted_class("glp-local"))


@pytest.mark.parametrize("method", METHODS)
def test_a_models_end_point_is_a_method_that_needs_no_model(method: str) -> None:
    if method in END_POINTS:
        assert ModelConfig(4, 8.0, 20, end_point=method).end_point == method
    else:
        with pytest.raises(ConfigError, match=f"{method}.*must be one of {', '.join(END_POINTS)}"):
            ModelConfig(4, 8.0, 20, end_point=method)


@pytest.mark.parametrize(("command", "offered"), [("fuse", tuple(METHODS)), ("evaluate", END_POINTS)])
def test_commands_offer_the_tables_methods(command: str, offered: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [command, "lr.tif", "msi.tif", "--method", "nearest"])
    assert result.exit_code == 2
    assert all(f"'{method}'" in result.output for method in offered)

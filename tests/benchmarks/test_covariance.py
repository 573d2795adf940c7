"""The covariance's benchmark: one constant at a time, and nothing twice."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from emrdiff_cli.core.diffusion.supervision import SupervisedPair
from emrdiff_cli.core.methods.covariance import Covariance
from tests.benchmarks import covariance


def test_each_variant_changes_one_constant_and_every_constant_is_varied() -> None:
    changed = {
        name: [f.name for f in fields(Covariance) if getattr(made, f.name) != getattr(Covariance(), f.name)]
        for name, made in covariance.variants().items()
    }
    assert changed.pop("usual") == []
    assert {len(names) for names in changed.values()} == {1}
    assert {names[0] for names in changed.values()} == {f.name for f in fields(Covariance)}


def test_what_is_scored_is_not_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def scored(_pair: SupervisedPair, made: Covariance) -> float:
        asked.append(made.colour_sill)
        return 40 - made.colour_sill

    monkeypatch.setattr(covariance, "psnr_db", scored)
    (tmp_path / "sample.json").write_text(json.dumps({"usual": 39.6, "colour_sill x 3": 38.8}))
    assert covariance.main([str(tmp_path), "--constants", "colour_sill"]) == 0
    assert asked == pytest.approx([0.12, 0.22, 0.72])
    assert "| colour_sill | 0.4 | +0.280 | +0.180 | -0.320 | -0.800 |" in (tmp_path / "table.md").read_text()
    assert covariance.main([str(tmp_path), "--constants", "colour_sill"]) == 0
    assert len(asked) == 3


def test_the_choice_is_told_scene_by_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Covariance(colour_sill=1.2, colour_range=10.0, neighbourhood_share=0.4)
    monkeypatch.setattr(covariance, "psnr_db", lambda _pair, _covariance: 40.0)
    monkeypatch.setattr(covariance, "chosen_psnr_db", lambda _pair: (chosen, 40.5))
    for _ in range(2):
        assert covariance.main([str(tmp_path), "--choice"]) == 0
    lines = (tmp_path / "choice.md").read_text().splitlines()
    assert "| sample | 40.00 | +0.50 | 1.2 | 10 | 0.4 |" in lines
    assert lines[-1] == "Mean +0.50 dB, least +0.50, most +0.50."

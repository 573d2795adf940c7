"""A model beside kriging, which needs no training, on what was held out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emrdiff_cli.core.diffusion.supervision import (
    TrainingSample,
    at_lr,
    fused_without_model,
    mean_psnr,
    mean_sam_deg,
)
from emrdiff_cli.core.evidence.covariance_choice import covariance_for


@dataclass(frozen=True)
class Comparison:
    """PSNR (dB) and SAM (degrees) of a model and of kriging on what was held out: the model's whole worth."""

    psnr_db: float
    kriging_db: float
    sam_deg: float
    kriging_sam_deg: float

    @property
    def gain_db(self) -> float:
        """By how many dB the model is better."""
        return self.psnr_db - self.kriging_db

    def next_step(self, folder: str, pair: tuple[Path, Path] | None) -> str:
        """The command that fuses by the better of the two; `folder`: the model's, `pair`: the one learned from."""
        asked = f"--model {shlex.quote(folder)}" if self.gain_db > 0 else "--method kriging"
        files = "LR_HSI HR_MSI OUTPUT" if pair is None else f"{shlex.join(map(str, pair))} fused.tif"
        return f"emrdiff fuse {files} {asked}"

    @property
    def sentence(self) -> str:
        """Which of the two is better, and by how much."""
        told = (
            f"({self.psnr_db:.2f} and {self.kriging_db:.2f} dB; spectral angle {self.sam_deg:.2f} and "
            f"{self.kriging_sam_deg:.2f} degrees)"
        )
        if self.gain_db > 0:
            return f"on what was held out the model is {self.gain_db:.2f} dB better than kriging {told}"
        return (
            f"on what was held out the model is {-self.gain_db:.2f} dB worse than kriging {told}, which needs no "
            "training"
        )


def kriging_scores(held_out: Sequence[TrainingSample], peak: float) -> tuple[float, float]:
    """Mean PSNR (dB) and SAM (degrees) of kriging, untrained, on samples held out."""
    decibels, angles = [], []
    for sample in held_out:
        pair = sample.pair
        covariance = covariance_for(at_lr(pair)[0], pair.strips, pair.resampling)
        fused = fused_without_model(pair, "kriging", covariance)
        decibels.append(mean_psnr(fused, sample, peak))
        angles.append(mean_sam_deg(fused, sample))
    return sum(decibels) / len(decibels), sum(angles) / len(angles)

"""The rows of the quality benchmark: what is compared, on which data, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from emrdiff_cli.config import PAPER_MODEL, PAPER_TRAINING

Table = Literal["cave", "aviris-x4", "aviris-x8"]
Options = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """One configuration. `method` is a fusion without training; else `model` and `training` override the defaults.

    `effort` multiplies the table's iterations; `seeds` are the trainings of which the spread is reported.
    """

    name: str
    says: str
    method: str = ""
    model: Options = field(default_factory=dict)
    training: Options = field(default_factory=dict)
    effort: float = 1.0
    seeds: int = 1


# A model without the archive's detail filter, and one with it.
_PLAIN: Options = {"end_point": "glp-local", "detail_filter": 0}
_KRIGED: Options = {"end_point": "kriging", "detail_filter": 0}
_FILTER: Options = {"end_point": "kriging", "detail_filter": 3}
_CAMERA: Options = {**_FILTER, "lateral_colour": True}

# Of T passes in an iteration the default adds a later step in half of them: the control gets as many passes.
_ONE_STEP: Options = {"steps": 1, "kappa": 0.0, **_PLAIN}
_KRIGED_STEP: Options = {"steps": 1, "kappa": 0.0, **_KRIGED}
_CAMERA_STEP: Options = {"steps": 1, "kappa": 0.0, **_CAMERA}
_LATER_SHARE = 0.5

WITHOUT_TRAINING = (
    Row("bicubic", "LR-HSI upsampled", "bicubic"),
    Row("glp", "GLP hypersharpening: one least-squares map", "glp"),
    Row("glp-local", "the same in windows, back-projected", "glp-local"),
    Row("kriging", "area-to-point kriging over the ground and colour", "kriging"),
    Row("sfim-hs", "SFIM with a synthetic band for each HSI band", "sfim-hs"),
    Row("cnmf", "coupled non-negative matrix factorisation", "cnmf"),
    Row("hysure", "subspace and vector total variation", "hysure"),
)

MAIN = (
    Row("emr-diff", "end point glp-local, own predictions, 5 steps", model=_PLAIN, seeds=2),
    Row("one-step", "the same network and inputs, one regression step", model=_ONE_STEP, seeds=2),
    Row(
        "one-step-equal-compute",
        "one step, as many passes through the network as the default's training",
        model=_ONE_STEP,
        effort=1 + _LATER_SHARE,
        seeds=2,
    ),
    Row("emr-diff-glp", "end point glp", model={**_PLAIN, "end_point": "glp"}, seeds=2),
)

# One step of a vanishing length leaves the network where it begins: at the end point.
_IDLE: Options = {"learning_rate": 1e-12}
FILTER = Row("filter", "kriging and the archive's detail filter", model=_FILTER, training=_IDLE, effort=0)
CAMERA = (
    Row("lens-filter", "the same with lateral colour", model=_CAMERA, training=_IDLE, effort=0),
    Row("emr-diff-filter", "the same under the diffusion", model=_CAMERA, seeds=2),
    Row("one-step-filter", "the same under one regression step", model=_CAMERA_STEP, seeds=2),
    Row(
        "one-step-filter-equal-compute",
        "one step, as many passes through the network",
        model=_CAMERA_STEP,
        effort=1 + _LATER_SHARE,
        seeds=2,
    ),
)

KRIGED = (
    Row("emr-diff-kriging", "end point kriging", model=_KRIGED, seeds=2),
    Row("one-step-kriging", "the same under one regression step", model=_KRIGED_STEP, seeds=2),
)

PAPER = (
    Row("paper", "the paper's recipe, kappa 1", model=PAPER_MODEL, training=PAPER_TRAINING),
    Row(
        "paper-kappa-2",
        "the paper's recipe, kappa 2",
        model={**PAPER_MODEL, "kappa": 2.0},
        training=PAPER_TRAINING,
    ),
)

ABLATIONS = (
    Row("truth-chain", "X'_t from the ground truth, as in the paper", training={"chain": "truth"}),
    Row("gaussian-noise", "noise everywhere alike", model={"noise": "gaussian"}),
    Row("no-noise", "kappa 0", model={"kappa": 0.0}),
    Row("kappa-1", "kappa 1, in units of the residual", model={"kappa": 1.0}),
    Row("unimodal", "residual of the HSI's channels alone", model={"residual": "unimodal"}),
    Row("no-residual", "diffusion from noise, conditioned", model={"residual": "none", "kappa": 1.0}),
    Row("3-steps", "3 steps", model={"steps": 3}),
    Row("4-steps", "4 steps", model={"steps": 4}),
    Row("10-steps", "10 steps", model={"steps": 10}),
    Row("no-extras", "the guidance branch sees A_0 alone", model={"guidance_extras": ()}),
    Row("glp-no-extras", "end point glp, A_0 alone", model={"end_point": "glp", "guidance_extras": ()}),
    Row("bicubic-end-point", "end point bicubic, all else the default", model={"end_point": "bicubic"}),
    Row("subspace-8", "8 spectral directions", model={"subspace": 8}),
    Row("subspace-12", "12 spectral directions", model={"subspace": 12}),
    Row("subspace-16", "16 spectral directions", model={"subspace": 16}),
    Row("pseudo-last", "pseudo-MSI: the last bands", model={"pseudo_msi": "last"}),
    Row("pseudo-even", "pseudo-MSI: evenly spaced bands", model={"pseudo_msi": "even"}),
    Row("pseudo-srf", "pseudo-MSI: weighted by the SRF", model={"pseudo_msi": "srf"}),
    Row("adamw", "optimiser AdamW", training={"optimizer": "adamw"}),
)


def _plain(row: Row) -> Row:
    return replace(row, model={**_PLAIN, **row.model})


TABLES: Mapping[Table, tuple[Row, ...]] = {
    "cave": (*WITHOUT_TRAINING, *MAIN, FILTER, *CAMERA, *PAPER, *map(_plain, ABLATIONS)),
    "aviris-x4": (*WITHOUT_TRAINING, *MAIN, FILTER, *KRIGED),
    "aviris-x8": (*WITHOUT_TRAINING, *MAIN, FILTER, *KRIGED),
}

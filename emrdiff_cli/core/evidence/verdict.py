"""The verdict on a pair: what its evidence says of each method, which of them is chosen, and one sentence why.

Kriging is the favourite: on most pairs of a known truth it is the best, and seldom far from it. It is left

- where the geometry in use is surely wrong: what is learned at LR misleads then, and `glp` learns the least there;
- for a method that MSI bands held out, as the LR-HSI sees them, put above it by more than their error; of those
  that they do not tell apart, for the one that asks least of the LR-HSI;
- where the MSI has one band, for `glp-local` if kriging's residuals at LR pixels left out are much larger than
  its covariance has them: the scene is not of one kind then.

Reduced resolution is told and decides nothing: it is of another scale, and where it was sure against kriging it was
wrong more often than right (`python -m tests.benchmarks.verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from emrdiff_cli.core.evidence.bootstrap import Estimate
from emrdiff_cli.core.evidence.correction_size import CorrectionSize
from emrdiff_cli.core.evidence.misplacement import Misplacement
from emrdiff_cli.methods import FAVOURITE

HELD_OUT = "band held out"

_ROBUST, _LOCAL = "glp", "glp-local"

_ERRORS = 2.0  # standard errors by which another method must be above the favourite,
_LEAST_DB = 0.1  # and dB
_MISCALIBRATED = (
    1.2  # rms of kriging's standardised residuals from which on its covariance is not the scene's
)
_MOST_CHANGED = 0.02  # share of the LR pixels from which change is what to doubt first
_UNEXPLAINED = 0.02  # share of the MSI's variance at LR that the LR-HSI leaves, from which the geometry is
_UNCOVERED = 0.25  # share of the bands under no MSI band from which they are


@dataclass(frozen=True)
class Score:
    """A method under one kind of evidence: `snr_db` (the bands' spread over the error), `gain_db` over kriging.

    `sam_deg`, degrees; None where no whole spectra are compared.
    """

    snr_db: float
    gain_db: Estimate
    sam_deg: float | None = None


@dataclass(frozen=True)
class Standing:
    """A method with its scores, by kind of evidence."""

    method: str
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class LeftOut:
    """Kriging's leave-one-out residuals at LR: `snr_db`, and their rms in units of the expected deviations."""

    snr_db: float
    standardised_rms: float


@dataclass(frozen=True)
class Candidate:
    """A model that fits a pair, `gain_db` better than kriging on what was `held_out` of its training.

    `named`: asked for by name. `correction`: what it changes on the pair, where it was tried, by which scenes
    unlike those of its training are told. How good it is there nothing tells: at reduced resolution a model meets
    another scale than that of its training, and is told worse than kriging where it is better.
    """

    name: str
    gain_db: float
    held_out: str = ""
    named: bool = False
    correction: CorrectionSize | None = None

    @property
    def worth(self) -> str:
        """How it compares with kriging, in words."""
        compared = f"{abs(self.gain_db):.2f} dB {'better' if self.gain_db > 0 else 'worse'} than {FAVOURITE}"
        held_out = f" ({self.held_out})" if self.held_out else ""
        return f"{compared} on what was held out of its training{held_out}"


@dataclass(frozen=True)
class Verdict:
    """The methods' evidence and the choice. `lr_pixels`: those that it rests on.

    `unexplained`: share of the MSI's variance at LR that the LR-HSI leaves; `changed` and `uncovered`: shares of
    the LR pixels that changed and of the bands under no MSI band. `model`: one that fits, chosen or not.
    `posterior`: kriging was settled on for what it alone tells, its uncertainty, whatever the evidence names.
    """

    method: str
    standings: tuple[Standing, ...] = ()
    left_out: LeftOut | None = None
    lr_pixels: int = 0
    unexplained: float | None = None
    misplaced: Misplacement | None = None
    changed: float = 0.0
    uncovered: float = 0.0
    model: Candidate | None = None
    posterior: bool = False
    doubts: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubts", tuple(self._doubted()))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of evidence that there are, in order."""
        return tuple(dict.fromkeys(kind for standing in self.standings for kind in standing.scores))

    @property
    def sentence(self) -> str:
        """Which method, why, by how much, and what to doubt first."""
        return f"fused by {self.reason}"

    @property
    def reason(self) -> str:
        """The sentence from the method's name on."""
        doubt = f"; doubt first: {self.doubts[0]}" if self.doubts else ""
        return f"{self.method}: {self._why()}{doubt}"

    def record(self) -> dict[str, Any]:
        """All of it as plain values for JSON; what is not known is null."""
        return {
            "method": self.method,
            "sentence": self.sentence,
            "evidence": [
                {"method": standing.method, "kind": kind, **_plain(score)}
                for standing in self.standings
                for kind, score in standing.scores.items()
            ],
            "leave_one_out": None if self.left_out is None else asdict(self.left_out),
            "lr_pixels": self.lr_pixels,
            "unexplained": self.unexplained,
            "misplaced": None if self.misplaced is None else self.misplaced._asdict(),
            "changed": self.changed,
            "uncovered": self.uncovered,
            "model": None if self.model is None else self.model.name,
            "model_gain_db": None if self.model is None else self.model.gain_db,
            "model_held_out": None if self.model is None else self.model.held_out,
            "model_correction": _correction(self.model),
            "posterior": self.posterior,
            "doubts": list(self.doubts),
        }

    def _why(self) -> str:
        model = self.model
        if model is None:
            return self._why_method()
        if self.method != model.name:
            return f"{self._why_method()}; model {model.name} tells none, and is {model.worth}"
        if model.named:
            return f"the model asked for, {model.worth}"
        size = model.correction
        tried = (
            ", not on this pair"
            if size is None
            else f"; here it corrects {size.whole:.2f} times what the MSI leaves of the LR-HSI"
        )
        return f"a model that fits, {model.worth}: on that the choice rests{tried}"

    def _why_method(self) -> str:
        kind = deciding_kind(self.standings)
        if kind is None:
            return (
                "it alone tells its uncertainty"
                if self.posterior
                else "the pair is too small to tell more than that it is the best on most"
            )
        if self.method != FAVOURITE:
            gain = _of(self.standings, self.method).scores[kind].gain_db
            return self._untold(kind) or f"{_told(kind)} it is {_db(gain)} better than {FAVOURITE}"
        if self.posterior:
            return f"it alone tells its uncertainty; {self._beside(kind)}"
        return self._leads(kind)

    def _beside(self, kind: str) -> str:
        """The evidence, where it was not asked to choose."""
        named = choose(self.standings, self.left_out, self.misplaced)
        if named == FAVOURITE:
            return self._leads(kind)
        if untold := self._untold(kind):
            return f"{untold}: {named} is to be preferred, without one"
        gain = _of(self.standings, named).scores[kind].gain_db
        return f"{_told(kind)} {named} is {_db(gain)} better, without one"

    def _untold(self, kind: str) -> str:
        """Why kriging is left where no method's gain tells; empty where one does."""
        if self._geometry_is_wrong:
            return f"the geometry in use is surely wrong, and what {FAVOURITE} learns from the LR-HSI misleads then"
        if kind == HELD_OUT or self.left_out is None:
            return ""
        return (
            f"{FAVOURITE}'s residuals at LR pixels left out are {self.left_out.standardised_rms:.2f} times as "
            "large as it expects, and one MSI band tells no more"
        )

    def _leads(self, kind: str) -> str:
        rivals = [standing for standing in self.standings if standing.method != FAVOURITE]
        best = max(rivals, key=lambda standing: standing.scores[kind].gain_db.value)
        gain = best.scores[kind].gain_db
        if gain.value < -_ERRORS * gain.error:
            lead = Estimate(-gain.value, gain.error)
            return f"{_told(kind)} it is {_db(lead)} better than {best.method}, the next"
        return f"{_told(kind)} no other is surely better ({best.method} by {_db(gain, '+')})"

    @property
    def _geometry_is_wrong(self) -> bool:
        return self.misplaced is not None and self.misplaced.is_sure

    def _doubted(self) -> list[str]:
        doubts = []
        if self.changed > _MOST_CHANGED:
            doubts.append(f"change between the two images ({self.changed:.0%} of the LR pixels)")
        if self.unexplained is not None and (self._geometry_is_wrong or self.unexplained > _UNEXPLAINED):
            doubts.append(
                f"the geometry (the LR-HSI leaves {self.unexplained:.1%} of the MSI at LR unexplained)"
            )
        if self.uncovered > _UNCOVERED:
            doubts.append(f"the detail of the bands under no MSI band ({self.uncovered:.0%} of them)")
        return doubts


def choose(
    standings: Sequence[Standing], left_out: LeftOut | None = None, misplaced: Misplacement | None = None
) -> str:
    """The favourite, or the method that the evidence leaves it for: see above."""
    if not standings:
        return FAVOURITE
    if misplaced is not None and misplaced.is_sure:
        return _ROBUST
    if HELD_OUT in standings[0].scores:
        return _by_held_out(standings)
    miscalibrated = left_out is not None and left_out.standardised_rms > _MISCALIBRATED
    return _LOCAL if miscalibrated else FAVOURITE


def _by_held_out(standings: Sequence[Standing]) -> str:
    """The method that bands held out name; `standings` in order of what the methods ask of the LR-HSI."""
    gains = {standing.method: standing.scores[HELD_OUT].gain_db for standing in standings}
    sure = {method: gain for method, gain in gains.items() if _is_sure(gain)}
    if not sure:
        return FAVOURITE
    best = max(sure.values(), key=lambda gain: gain.value)
    return next(method for method, gain in sure.items() if gain.value >= best.value - best.error)


def deciding_kind(standings: Sequence[Standing]) -> str | None:
    """The kind of evidence that decides; None without any."""
    kinds = list(standings[0].scores) if standings else []
    return HELD_OUT if HELD_OUT in kinds else next(iter(kinds), None)


def _of(standings: Sequence[Standing], method: str) -> Standing:
    return next(standing for standing in standings if standing.method == method)


def _told(kind: str) -> str:
    return "on MSI bands held out at full resolution" if kind == HELD_OUT else f"at {kind}"


def _db(gain: Estimate, sign: str = "") -> str:
    error = f" ± {gain.error:.2f}" if math.isfinite(gain.error) else ""
    return f"{gain.value:{sign}.2f}{error} dB"


def _is_sure(gain: Estimate) -> bool:
    """Whether a gain is one, by more than its error."""
    return gain.value > max(_LEAST_DB, _ERRORS * gain.error)


def _correction(model: Candidate | None) -> dict[str, float] | None:
    return None if model is None or model.correction is None else model.correction._asdict()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(score: Score) -> dict[str, float | None]:
    gain = score.gain_db
    told = {
        "snr_db": score.snr_db,
        "gain_db": gain.value,
        "gain_error_db": gain.error,
        "sam_deg": score.sam_deg,
    }
    return {key: _finite(value) for key, value in told.items()}

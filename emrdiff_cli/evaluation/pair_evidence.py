"""Use case: a fused raster and its pair -> what the pair's own evidence says of the methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emrdiff_cli.core.evidence.verdict import Verdict
from emrdiff_cli.core.side_by_side import working_side_by_side
from emrdiff_cli.evaluation.pair_view import opened_view
from emrdiff_cli.fusion.evidence import verdict_on
from emrdiff_cli.fusion.observed_scene import observe_scene
from emrdiff_cli.fusion.output import METHOD_TAG
from emrdiff_cli.pair.spectral_coverage import choose_response, find_coverage
from emrdiff_cli.runtime.threads import thread_count

_Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class PairEvidence:
    """The verdict that `fuse` would come to on the pair, and the method that made the raster; empty if unknown."""

    verdict: Verdict
    fused_by: str

    @property
    def sentence(self) -> str:
        """Which method the pair names, why, and which it was."""
        made = f"; the raster is by {self.fused_by}" if self.fused_by not in ("", self.verdict.method) else ""
        return f"the pair's own evidence names {self.verdict.reason}{made}"

    def record(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        return {"evidence": self.verdict.record() | {"sentence": self.sentence, "fused_by": self.fused_by}}


def gather_evidence(
    fused: Path,
    lr_hsi: Path,
    hr_msi: Path,
    *,
    srf: str | None = None,
    report: _Report = lambda done, total, note: None,
) -> PairEvidence:
    """The evidence for each method on the pair as the fused raster records its geometry.

    `srf` as `choose_response` takes it. Raises UsageError, InputError, GridError.
    """
    with working_side_by_side(thread_count()), opened_view(fused, lr_hsi, hr_msi) as view:
        pair = view.pair
        observed = observe_scene(pair)
        verdict = verdict_on(observed, say=lambda note: report(0, 1, note))
        choice = choose_response(srf, pair.lr_info, pair.msi_info)
        seen = find_coverage(choice, pair, set(observed.passed.bands.tolist()), placed=view.placed)
        report(1, 1, "")
        told = replace(verdict, uncovered=seen.uncovered_share)
        return PairEvidence(told, view.reader.info.tags.get(METHOD_TAG, ""))

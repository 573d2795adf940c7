"""The tables of what samplers scored: means over scenes, and differences to the best rival with a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.sampling.measures import Scores
from tests.benchmarks.sampling.samplers import SAMPLERS, Sampler
from tests.benchmarks.sampling.scenes import FAMILIES
from tests.benchmarks.sampling.scores import Judged

Floats = NDArray[np.floating[Any]]

_COLUMNS = {
    "crps": ("CRPS", ".1f"),
    "energy": ("energy, spectra", ".1f"),
    "patches": ("energy, 8 x 8", ".1f"),
    "within_50": ("in 9 of 17 ranks (53 %)", ".0%"),
    "within_90": ("in 15 of 17 (88 %)", ".0%"),
    "unevenness": ("ranks uneven", ".2f"),
    "ratio": ("spread / error", ".2f"),
    "slope": ("slope", ".2f"),
    "texture_db": ("texture off (dB)", ".1f"),
    "indices": ("indices off", ".2f"),
    "psnr_db": ("mean's PSNR (dB)", ".2f"),
}
_BRIEF = ("energy", "patches", "ratio", "texture_db", "psnr_db")
_REFERENCE = "diffusion-errors"  # what the ablations are of
_DRAWS = 4000  # of the bootstrap
_INTERVAL = (0.05, 0.95)


def tables(judged: Sequence[Judged]) -> list[str]:
    """Lines of Markdown: by family the samplers and their differences to the best rival, then the ablations."""
    lines = []
    for family in FAMILIES:
        own = [one for one in judged if one.family == family]
        if own:
            scenes = len({one.scene for one in own})
            lines += [f"### {family}, {scenes} scene{'s' if scenes > 1 else ''}", "", *_table(own), ""]
            lines += [*_differences(own), ""]
    return [*lines, "### Ablations", "", *_ablations(judged)]


def _main(sampler: Sampler) -> bool:
    return not sampler.ablation


def _table(judged: Sequence[Judged]) -> list[str]:
    names = {one.sampler for one in judged}
    lines = [
        "| sampler | | " + " | ".join(title for title, _ in _COLUMNS.values()) + " |",
        "| --- " * (2 + len(_COLUMNS)) + "|",
    ]
    for sampler in SAMPLERS:
        if sampler.name in names and _main(sampler):
            cells = [
                format(float(by_scene(judged, sampler.name, measure).mean()), form)
                for measure, (_, form) in _COLUMNS.items()
            ]
            lines.append(f"| `{sampler.name}` | {sampler.says} | {' | '.join(cells)} |")
    return lines


def by_scene(judged: Sequence[Judged], sampler: str, measure: str) -> Floats:
    """A sampler's means (scenes,) of a measure over seeds and pairs, scenes by name."""
    scenes = sorted({one.scene for one in judged})
    own = [one for one in judged if one.sampler == sampler]
    found = [[_value(one.scores, measure) for one in own if one.scene == scene] for scene in scenes]
    return np.array([np.mean(values) if values else np.nan for values in found])


def _value(scores: Scores, measure: str) -> float:
    """A measure; `calibration` is |ln| of the spread over the error."""
    return abs(float(np.log(scores["ratio"]))) if measure == "calibration" else scores[measure]


def _differences(judged: Sequence[Judged]) -> Iterator[str]:
    """The chain and kriging less the best without a chain: means, and 90 % of a bootstrap over the scenes."""
    titles = {
        "energy": "energy, spectra",
        "patches": "energy, 8 x 8",
        "calibration": "\\|ln(spread / error)\\|",
    }
    names = [s for s in SAMPLERS if _main(s) and s.name in {one.sampler for one in judged}]
    rivals = [s.name for s in names if s.recipe != "diffusion"]
    told = [s.name for s in names if s.recipe in ("diffusion", None)]
    yield "| less is better | best rival | " + " | ".join(f"`{name}` less it" for name in told) + " |"
    yield "| --- " * (2 + len(told)) + "|"
    for measure, title in titles.items():
        of_rivals = {name: by_scene(judged, name, measure) for name in rivals}
        best = min(rivals, key=lambda name: float(of_rivals[name].mean()))
        cells = [_interval(by_scene(judged, name, measure) - of_rivals[best]) for name in told]
        yield f"| {title} | `{best}` {of_rivals[best].mean():.2f} | {' | '.join(cells)} |"


def _interval(differences: Floats) -> str:
    rng = np.random.default_rng(0)
    drawn = rng.choice(differences, (_DRAWS, len(differences))).mean(axis=1)
    low, high = np.quantile(drawn, _INTERVAL)
    return f"{differences.mean():+.2f} ({low:+.2f}, {high:+.2f})"


def _ablations(judged: Sequence[Judged]) -> Iterator[str]:
    """The chain's ablations, a column a family."""
    names = {one.sampler for one in judged}
    yield "Energy of spectra / of 8 x 8 pixels / spread over error / texture off (dB) / mean's PSNR (dB):"
    yield ""
    yield f"| sampler | | {' | '.join(FAMILIES)} |"
    yield "| --- " * (2 + len(FAMILIES)) + "|"
    for sampler in SAMPLERS:
        if sampler.name in names and (sampler.ablation or sampler.name == _REFERENCE):
            cells = [_brief([one for one in judged if one.family == of], sampler.name) for of in FAMILIES]
            yield f"| `{sampler.name}` | {sampler.says} | {' | '.join(cells)} |"


def _brief(judged: Sequence[Judged], sampler: str) -> str:
    if not judged:
        return ""
    found = ((name, float(by_scene(judged, sampler, name).mean())) for name in _BRIEF)
    return " / ".join(format(mean, _COLUMNS[name][1]) for name, mean in found)

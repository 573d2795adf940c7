"""Where the repository's own data lie, and the real scenes beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
REAL_SCENES = ROOT.parent / "shared" / "data"

"""The command killed at random moments, then resumed: the same bytes each time, the old output there until the end.

python -m tests.benchmarks.kill_and_resume [--kills 20] [--seed 0] [--format GTiff]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "sample_data"
OLD = b"what was there"


def main() -> None:
    """Kill and resume; one line each, an error where bytes differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=("GTiff", "COG", "ENVI"), default="GTiff")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / ("fused.bsq" if given.format == "ENVI" else "fused.tif")
        command = [sys.executable, "-m", "emrdiff_cli", "fuse", str(SAMPLE / "lr_hsi.hdr")]
        command += [str(SAMPLE / "hr_msi.tif"), str(output), "-f", given.format, "--overwrite"]
        command += ["--tile", "48", "--overlap", "16"]
        begun, seconds = uninterrupted(command, output)
        whole = output.read_bytes()
        for number in range(1, given.kills + 1):
            sys.stdout.write(
                f"{number}: {kill_and_resume(command, output, whole, chance.uniform(0.8 * begun, seconds))}\n"
            )
            sys.stdout.flush()


def uninterrupted(command: list[str], output: Path) -> tuple[float, float]:
    """Run to the end: seconds until rows are computed, and in all."""
    started, begun = time.monotonic(), 0.0
    with subprocess.Popen([*command, "-q"]) as process:
        while process.poll() is None:
            if not begun and (output.parent / f".{output.name}.journal").exists():
                begun = time.monotonic() - started
            time.sleep(0.01)
    if process.returncode:
        raise SystemExit(process.returncode)
    return begun, time.monotonic() - started


def kill_and_resume(command: list[str], output: Path, whole: bytes, delay: float) -> str:
    """Outcome of one kill; raises SystemExit where something was lost."""
    output.write_bytes(OLD)
    with subprocess.Popen([*command, "-q"]) as process:
        time.sleep(delay)
        process.kill()
    killed = process.returncode != 0
    # A process that is killed on its way out has put the new one in place.
    if output.read_bytes() not in ((OLD, whole) if killed else (whole,)):
        raise SystemExit(f"killed after {delay:.2f} s: the old output was lost")
    ended = subprocess.run([*command, "--resume"], stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"killed after {delay:.2f} s: not resumed: {ended.stderr}")
    if output.read_bytes() != whole:
        raise SystemExit(f"killed after {delay:.2f} s: other bytes after the resumption")
    beside = [path.name for path in output.parent.iterdir() if path.name.startswith(".")]
    if beside:
        raise SystemExit(f"killed after {delay:.2f} s: left behind {', '.join(beside)}")
    notes = [line for line in ended.stderr.splitlines() if "resume" in line]
    return f"{'killed' if killed else 'ended'} after {delay:.2f} s; {'; '.join(notes)}; same bytes"


if __name__ == "__main__":
    main()

"""Speed of all there is, one command: the commands' processes (`speed_fusion`), the network's (`speed_network`).

    python -m tests.benchmarks.speed FOLDER --data DATA [--minutes 60]

Each keeps what it has measured in FOLDER; repeated, it goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run both, each in a process of its own, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60, help="begin no row of the network after that")
    given = parser.parse_args()
    of_fusion = ["--data", str(given.data), "--rounds", str(given.rounds)]
    of_network = ["--rounds", str(given.rounds), "--minutes", str(given.minutes)]
    for module, options in (("speed_fusion", of_fusion), ("speed_network", of_network)):
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", str(given.folder), *options]
        sys.stdout.flush()
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

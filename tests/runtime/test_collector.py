"""The garbage collector around imports: out of the way, and again as it was."""

import gc
import subprocess
import sys

import pytest

from emrdiff_cli.runtime.collector import loading


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_rests_while_something_is_loaded_and_others_objects_stay_in_its_sight(
    collecting: bool,
) -> None:
    was, frozen = gc.isenabled(), gc.get_freeze_count()
    try:
        (gc.enable if collecting else gc.disable)()
        with loading():
            resting = not gc.isenabled()
        found = resting, gc.isenabled(), gc.get_freeze_count()
    finally:
        (gc.enable if was else gc.disable)()
    assert found == (True, collecting, frozen)


def test_the_commands_process_sets_aside_what_it_loads() -> None:
    script = (
        "import gc\nfrom emrdiff_cli.runtime.collector import loading, set_aside\n"
        "set_aside()\nbefore = gc.get_freeze_count()\n"
        "with loading():\n    kept = [[] for _ in range(1000)]\n"
        "print(gc.get_freeze_count() - before, gc.isenabled())"
    )
    grown, collecting = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert int(grown) >= 1000
    assert collecting == "True"

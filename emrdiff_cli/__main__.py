"""`python -m emrdiff_cli` is `emrdiff`: light up to here, so that Ctrl-C ends its imports without a traceback."""

import gc
import signal
from typing import NoReturn

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> NoReturn:
    """Run the command, whose signals are its own from there on."""
    from emrdiff_cli.cli.surroundings import hold_descriptors

    hold_descriptors()  # before the imports, which may open files and keep them
    from emrdiff_cli.runtime.collector import loading, set_aside

    with loading():
        from emrdiff_cli.cli.app import main as run
        from emrdiff_cli.runtime.torchrun import end_at_once, processes
    set_aside()

    try:
        run()
    except SystemExit as ended:
        if processes() > 1:
            end_at_once(int(ended.code or 0))
        raise
    finally:
        # The interpreter would look for cycles in all that there is, again and again: with torch for half a second.
        gc.freeze()


if __name__ == "__main__":
    main()

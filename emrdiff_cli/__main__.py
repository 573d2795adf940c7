"""`python -m emrdiff_cli` is `emrdiff`."""

from emrdiff_cli.cli.app import main

main()

"""`emrdiff models`."""


def models() -> None:
    """Not written yet."""

"""`emrdiff tile`."""


def tile() -> None:
    """Not written yet."""

"""`emrdiff stitch`."""


def stitch() -> None:
    """Not written yet."""

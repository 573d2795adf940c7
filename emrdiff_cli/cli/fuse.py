"""`emrdiff fuse`."""


def fuse() -> None:
    """Not written yet."""

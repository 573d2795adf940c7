"""`emrdiff simulate`."""


def simulate() -> None:
    """Not written yet."""

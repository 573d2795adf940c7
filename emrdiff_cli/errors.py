"""The error family: every failure a user can cause or meet, each with the exit code of the command.

Exit codes: 0 done, 1 failed, 2 usage, 3 input or grid unusable, 4 write or verification failed,
5 a threshold missed, 130 and 143 on signals. A message names the value, the limit and the way out, in one line.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class EmrdiffError(Exception):
    """Base of all errors that end a command with one line instead of a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        """The message in one line, what it quotes of a file included."""
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """A message in one line; signs that a terminal would obey, not show, as Python escapes them."""
    joined = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in joined)


def in_one_line(error: OSError) -> str:
    """The message of an error of the operating system, with the file where it names one."""
    said = error.strerror or str(error) or type(error).__name__
    return said if error.filename is None else f"{error.filename}: {said}"


def unforeseen(error: Exception) -> str:
    """The message of an error that is no one's but the program's."""
    said = " ".join(str(error).split())
    return f"a fault of emrdiff itself, please report it with the command: {type(error).__name__}: {said}"


def failure_of(error: Exception, memory: str) -> tuple[str, int]:
    """The message and the exit code of one of many jobs that ended so; `memory`: what helps where it lacks."""
    if isinstance(error, EmrdiffError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return in_one_line(error), WriteError.exit_code
    if isinstance(error, MemoryError):
        return f"not enough memory: {memory}", EmrdiffError.exit_code
    return unforeseen(error), EmrdiffError.exit_code


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of a message, ": did you mean NEAREST?"; empty where no known name is near."""
    names = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f": did you mean {names[near[0]]}?" if near else ""


class UsageError(EmrdiffError, ValueError):
    """An option, a flag or a combination of them is unusable."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration has an unknown key or a value out of range."""


class OutputExistsError(UsageError):
    """The output is there already and `--overwrite` was not given."""


class InputError(EmrdiffError, ValueError):
    """An input file is missing, damaged or holds what cannot be used."""

    exit_code = 3


class GridError(InputError):
    """Two rasters do not lie on grids that can be brought together."""


class NothingToFuseError(InputError):
    """Two rasters have too little in common, or too little in them, to learn one from the other."""


class ModelError(InputError):
    """A model folder is missing, damaged or does not fit the scene."""


class UnfitModelError(ModelError):
    """A model is whole, but the scene's values, bands or materials are not those that it was made for."""


class TorchError(EmrdiffError):
    """PyTorch, which models alone need, is missing or cannot be loaded."""


class WriteError(EmrdiffError):
    """An output could not be written, or did not verify after it was written."""

    exit_code = 4


class ThresholdError(EmrdiffError):
    """A score is on the wrong side of a threshold that was given, or undefined."""

    exit_code = 5

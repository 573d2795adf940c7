"""The `emrdiff` command: its subcommands, its exit codes and its signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType, TracebackType
from typing import Annotated, Any, NoReturn

import typer

from emrdiff_cli.cli import (
    check,
    convert,
    evaluate,
    fuse,
    guide,
    info,
    models,
    quicklook,
    simulate,
    stitch,
    tile,
    train,
)
from emrdiff_cli.cli.panels import PanelledCommand, PlainGroup
from emrdiff_cli.cli.surroundings import hold_descriptors, refuse_unspeakable, take_interrupts
from emrdiff_cli.errors import EmrdiffError, WriteError, in_one_line, one_line, unforeseen
from emrdiff_cli.runtime.interruption import raised_again
from emrdiff_cli.version import __version__

app = typer.Typer(
    name="emrdiff",
    cls=PlainGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    simulate.simulate,
    train.train,
    fuse.fuse,
    tile.tile,
    stitch.stitch,
    evaluate.evaluate,
    info.info,
    quicklook.quicklook,
    check.check,
    convert.convert,
    models.models,
    guide.guide,
):
    app.command(cls=PanelledCommand, no_args_is_help=_command not in (models.models, guide.guide))(_command)


class _Terminated(BaseException):
    """SIGTERM, raised in the main thread so that part files are removed on the way out."""


_RAISED = {KeyboardInterrupt: signal.SIGINT, _Terminated: signal.SIGTERM}


def _terminate(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emrdiff {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hyperspectral image fusion: LR-HSI + HR-MSI -> georeferenced HR-HSI.

    `emrdiff guide` has the pages: from downloaded files to a map, choosing a method, reading the verdict.

    Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 usage,
    3 input or grid unusable, 4 write or verification failed, 5 a threshold missed, 130 and 143 on signals.
    """


@cache
def commands() -> Any:
    """The group of commands that Typer makes of the functions: once a process, as it takes longer than `info`."""
    return typer.main.get_command(app)


def _run() -> None:
    """Run a command to its end, its results out of the buffer: after that nobody would learn that they are lost."""
    try:
        # As `app()` does, but for its own hook on exceptions.
        commands()()
    except SystemExit:
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _say(line: str) -> None:
    with suppress(OSError):
        typer.echo(line, err=True)


class _Said(logging.Handler):
    """Warnings of the package as lines on stderr, each once: a command opens a raster several times."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._known: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say a warning that was not said yet."""
        line = one_line(record.getMessage())
        if line not in self._known:
            self._known.add(line)
            _say(f"Warning: {line}")


@contextmanager
def _dropping_what_gdal_quotes() -> Iterator[None]:
    """Keep rasterio from printing a traceback where a message of GDAL quotes bytes that are not UTF-8."""
    shown, ignored = sys.excepthook, sys.unraisablehook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if kind is not UnicodeDecodeError:
            shown(kind, error, trace)

    def say_ignored(args: sys.UnraisableHookArgs) -> None:
        if args.object != "rasterio._env.log_error":
            ignored(args)

    sys.excepthook, sys.unraisablehook = show, say_ignored
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = shown, ignored


@contextmanager
def _saying_warnings() -> Iterator[None]:
    log, said = logging.getLogger("emrdiff_cli"), _Said()
    log.addHandler(said)
    try:
        yield
    finally:
        log.removeHandler(said)


def _run_or_say() -> None:
    """Run a command; known errors become one line on stderr and their exit code."""
    try:
        refuse_unspeakable(sys.argv[1:])
        with _saying_warnings(), _dropping_what_gdal_quotes(), raised_again(_RAISED):
            _run()
    except EmrdiffError as error:
        _say(f"Error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        # What of the results is still held back would fail again, as the interpreter ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _say(f"Error: {in_one_line(error)}")
        sys.exit(WriteError.exit_code)
    except MemoryError as error:
        said = str(error) or "the machine has too little"
        _say(f"Error: not enough memory: {said}: work on a part, or on a larger machine")
        sys.exit(1)


def main() -> NoReturn:
    """Run a command to its exit code, signals and errors that nobody foresaw included."""
    hold_descriptors()
    take_interrupts()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _run_or_say()
    except SystemExit as ended:
        # Typer ends so on KeyboardInterrupt, without a word.
        if ended.code == 130:
            _say("Interrupted.")
        raise
    except KeyboardInterrupt:
        _say("Interrupted.")
        sys.exit(130)
    except _Terminated:
        _say("Terminated.")
        sys.exit(143)
    except Exception as error:
        if os.environ.get("EMRDIFF_DEBUG"):
            raise
        _say(f"Error: {unforeseen(error)} (EMRDIFF_DEBUG=1 shows where)")
        sys.exit(1)
    sys.exit(0)

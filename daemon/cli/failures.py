"""Turns an exception into one message and an exit code. No user ever sees a traceback."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress

from quantd.daemon.cli import streams
from quantd.extras import lack
from quantd.moved_modules import explained as moved
from quantd.regular_file import Refused
from quantd.trading.display_text import visible
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, INTERRUPTED, ExplainedError


class Failure(ExplainedError):
    """A failure of a command itself. The message is for its user."""

    def __init__(self, text: str, exit_code: int = CHECK_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Interrupted(ExplainedError):
    """Ctrl-C in a command that says what it has stored. Typer ends without a word at a KeyboardInterrupt."""

    exit_code = INTERRUPTED


def needs(what: str, *packages: str, extra: str = "train") -> None:
    """Raise Failure unless the packages that an extra of quantd installs are present."""
    if text := lack(what, extra, *packages):
        raise Failure(text, CONFIG)


def note(text: str) -> None:
    """Print a line on standard error."""
    print(visible(text), file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints there


_heard: list[int] = []
"""The signals of Ctrl-C since the start of the command."""


def _interrupt(number: int, _: object) -> None:
    _heard.append(number)
    raise KeyboardInterrupt


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed: a compiled package may drop the exception while it is imported."""
    if _heard:
        raise KeyboardInterrupt


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code. Messages go to standard error."""
    del _heard[:]
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        result = command()
        sys.stdout.flush()
        return _told(result if isinstance(result, int) else DONE)
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):  # Ctrl-C has ended the reader as well
            sys.stdout.flush()
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has gone (`quantd orders | head`), which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as end:
        with suppress(BrokenPipeError):
            sys.stdout.flush()
        return _told(end.code if isinstance(end.code, int) else CHECK_FAILED)
    except BaseException as error:
        text, code = explained(error)
        note(text)
        return code
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _told(code: int) -> int:
    """The exit code of a command, whose output may be lost. What was done decides it."""
    if not (why := streams.lost()):
        return code
    if not streams.incomplete():
        note(f"quantd: the output could not be written ({why.lower()}); what the exit code names was done")
        return code
    note(f"quantd: the output is not complete: {why.lower()}; make space, or write it elsewhere")
    return code or CHECK_FAILED


def explained(error: BaseException) -> tuple[str, int]:
    """The message and the exit code of an exception; the traceback of a bug goes into a file."""
    leaf = _leaf(error)
    if (explanation := _explained(leaf)) is not None:
        return explanation
    handle, path = tempfile.mkstemp(prefix="quantd-error-", suffix=".txt", text=True)
    with os.fdopen(handle, "w") as file:
        traceback.print_exception(error, file=file)
    text = " ".join(str(leaf).split()) or "no text"
    noted = " ".join(["", *getattr(leaf, "__notes__", ())])
    fault = f"quantd: this is a fault of quantd itself ({type(leaf).__name__}: {text:.300})"
    return f"{fault}.{noted} Details are in {path}", CHECK_FAILED


def _leaf(error: BaseException) -> BaseException:
    """The first exception of a group of failed tasks that can be explained, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(member) for member in error.exceptions]
    return next((leaf for leaf in leaves if _explained(leaf) is not None), leaves[0])


def _explained(error: BaseException) -> tuple[str, int] | None:
    """The message and the exit code of a foreseen failure, None of any other."""
    if isinstance(error, ExplainedError):
        return str(error), error.exit_code
    if isinstance(error, Refused):
        return str(error), CONFIG
    if text := moved(error):
        return text, CONFIG
    if isinstance(error, OSError) and error.filename is not None:
        return file_fault(error), CHECK_FAILED
    return None


def file_fault(error: Exception) -> str:
    """The file of an error and the reason, without the number of the system; the text of an error without a file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)

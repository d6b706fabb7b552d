"""Turns an exception into one message and an exit code, so that no user sees a traceback."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from quantd.daemon.cli import streams
from quantd.regular_file import Refused
from quantd.trading.display_text import visible
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, INTERRUPTED, ExplainedError


class Failure(ExplainedError):
    """A command has failed; the text is for its user, with the remedy."""

    def __init__(self, text: str, exit_code: int = CHECK_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Interrupted(ExplainedError):
    """Ctrl-C in a command that reports what it has stored; at a KeyboardInterrupt typer would end without a message."""

    exit_code = INTERRUPTED


def needs(what: str, *packages: str, extra: str = "train") -> None:
    """Raise Failure if a package that `what` needs, and that an extra of quantd installs, is absent."""
    from quantd.extras import lack

    if text := lack(what, extra, *packages):
        raise Failure(text, CONFIG)


def note(text: str) -> None:
    """Print a line on standard error."""
    print(visible(text), file=sys.stderr, flush=True)  # noqa: T201 - no other function prints on standard error


_interrupts: list[int] = []
"""The number of each SIGINT (Ctrl-C) since the start of the command."""


def _interrupt(number: int, _: object) -> None:
    """The handler of SIGINT: record it, and interrupt the command."""
    _interrupts.append(number)
    raise KeyboardInterrupt


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed: a package under import may have swallowed the first interrupt."""
    if _interrupts:
        raise KeyboardInterrupt


def interruptible() -> None:
    """Let Ctrl-C end a wait for the terminal: polars sets a handler of SIGINT after which a read goes on."""
    signal.siginterrupt(signal.SIGINT, True)


def typed(question: str) -> str:
    """Return the line that the user types after `question`. Ctrl-C raises KeyboardInterrupt."""
    interruptible()
    return input(question)


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code; the message of a failure goes to standard error."""
    # the interrupts of an earlier command of this process do not count
    del _interrupts[:]
    earlier_handler = signal.getsignal(signal.SIGINT)
    # a handler that the embedding program has set is not replaced
    if earlier_handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        result = command()
        sys.stdout.flush()
        return _code_after_output(result if isinstance(result, int) else DONE)
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):  # Ctrl-C has also ended the program that reads the output
            sys.stdout.flush()
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # the program that reads the output has ended (`quantd orders | head`), which is no error
        # the interpreter flushes the output at its exit: that flush must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as end:
        with suppress(BrokenPipeError):
            sys.stdout.flush()
        return _code_after_output(end.code if isinstance(end.code, int) else CHECK_FAILED)
    except BaseException as error:
        text, code = explained(error)
        note(text)
        return code
    finally:
        if earlier_handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, earlier_handler)


def _code_after_output(code: int) -> int:
    """Return the exit code of a command that ended with `code`: CHECK_FAILED if the command succeeded with incomplete
    output.

    Lost output makes a command fail only if it does nothing but print. A note on standard error tells of the loss.
    """
    if not (why := streams.lost()):
        return code
    if not streams.incomplete():
        note(f"quantd: the output could not be written ({why.lower()}); what the exit code names was done")
        return code
    note(f"quantd: the output is not complete: {why.lower()}; make space, or write it elsewhere")
    return code or CHECK_FAILED


def explained(error: BaseException) -> tuple[str, int]:
    """Return the message and the exit code of an exception; the traceback of a bug goes into a file."""
    cause = _first_cause(error)
    if (explanation := _explained(cause)) is not None:
        return explanation
    import tempfile

    handle, path = tempfile.mkstemp(prefix="quantd-error-", suffix=".txt", text=True)
    with os.fdopen(handle, "w") as file:
        traceback.print_exception(error, file=file)
    text = " ".join(str(cause).split()) or "no text"
    notes = " ".join(["", *getattr(cause, "__notes__", ())])
    fault = f"quantd: this is a fault of quantd itself ({type(cause).__name__}: {text:.300})"
    return f"{fault}.{notes} Details are in {path}", CHECK_FAILED


def _first_cause(error: BaseException) -> BaseException:
    """Return the exception itself or, for a group of failed tasks, the first foreseen failure in it, else its first
    exception."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_first_cause(member) for member in error.exceptions]
    return next((cause for cause in causes if _explained(cause) is not None), causes[0])


def _explained(error: BaseException) -> tuple[str, int] | None:
    """Return the message and the exit code of a foreseen failure; None for any other exception."""
    if isinstance(error, ExplainedError):
        return str(error), error.exit_code
    if isinstance(error, Refused):
        return str(error), CONFIG
    if isinstance(error, OSError) and error.filename is not None:
        return file_fault(error), CHECK_FAILED
    return None


def file_fault(error: Exception) -> str:
    """Return the file of an error and the reason, without the error number; for an error without a file, its text."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)

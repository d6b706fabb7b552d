"""Turns an exception into one message and an exit code. No user ever sees a traceback."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable

from quantd.trading.display_text import visible
from quantd.trading.exit_codes import CHECK_FAILED, DONE, INTERRUPTED, ExplainedError


class Failure(ExplainedError):
    """A failure of a command itself. The message is for its user."""

    def __init__(self, text: str, exit_code: int = CHECK_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def guarded(command: Callable[[], object]) -> int:
    """Run a command; its exit code. Messages go to standard error."""
    try:
        result = command()
        sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone (`quantd orders | head`): nothing is wrong, and nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else CHECK_FAILED
    except BaseException as error:
        text, code = explained(error)
        _say(text)
        return code


def explained(error: BaseException) -> tuple[str, int]:
    """The message and the exit code of what ended a command; the stack of a fault of ours is kept in a file."""
    known = _explained(_leaf(error))
    if known is not None:
        return known
    handle, path = tempfile.mkstemp(prefix="quantd-error-", suffix=".txt", text=True)
    with os.fdopen(handle, "w") as file:
        traceback.print_exception(error, file=file)
    leaf = _leaf(error)
    text = " ".join(str(leaf).split()) or "no text"
    text = f"quantd: this is a fault of quantd itself ({type(leaf).__name__}: {text:.300}). Details are in {path}"
    return text, CHECK_FAILED


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr)  # noqa: T201 - the one place where a command says why it failed


def _leaf(error: BaseException) -> BaseException:
    """The first thing in a group of failed tasks that can be explained, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(each) for each in error.exceptions]
    return next((each for each in leaves if _explained(each) is not None), leaves[0])


def _explained(error: BaseException) -> tuple[str, int] | None:
    """The message and the exit code of a foreseen failure, None of any other."""
    if isinstance(error, ExplainedError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}", CHECK_FAILED
    return None

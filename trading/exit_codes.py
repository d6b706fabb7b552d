"""Exit codes of the programs, and the base class of failures whose message is written for the user."""

from typing import Final

DONE: Final = 0
CHECK_FAILED: Final = 1
USAGE: Final = 2
TRY_LATER: Final = 75
"""EX_TEMPFAIL of sysexits.h."""
CONFIG: Final = 78
"""EX_CONFIG of sysexits.h."""
INTERRUPTED: Final = 130
"""128 + SIGINT."""


class ExplainedError(Exception):
    """A foreseen failure. A command that ends with this error prints its message without a traceback and exits with
    the class's code."""

    exit_code: int = CHECK_FAILED


class PackageMissing(ExplainedError, ImportError):
    """A Python package of an optional extra is not installed. The text names the extra, and the command that
    installs it."""

    exit_code = CONFIG

"""Exit codes of the programs, and the base of the failures whose message is written for the user."""

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
    """A foreseen failure. A command that ends with it prints its message without a stack and exits with its code."""

    exit_code: int = CHECK_FAILED


class PackageMissing(ExplainedError, ImportError):
    """A package of an extra is not installed. The text names the extra, and the command that adds it."""

    exit_code = CONFIG

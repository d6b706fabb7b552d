"""The end of a script of publication that was run by hand."""

import sys
from typing import NoReturn


def fail(text: str) -> NoReturn:
    """End the program with exit code 1 and a text. Raises SystemExit."""
    sys.exit(f"quantd: {text}")

"""The linear algebra of recorded runs: that of a processor which each one since 2009 includes.

OpenBLAS chooses its functions by the processor, and the last digits of a product depend on them. Runs are therefore
recorded and replayed with those for SSE4.2, which numpy needs anyway.
"""

import os
import platform
import sys
from typing import Final

ARCHITECTURES: Final = ("x86_64", "AMD64")
SETTING: Final = {"OPENBLAS_CORETYPE": "Nehalem"}
"""Read once, when numpy is imported."""


def has_setting() -> bool:
    """Whether this process began with these functions."""
    return SETTING.items() <= os.environ.items()


def begin_with_setting() -> None:
    """Starts this program again, with these functions."""
    if not has_setting():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | SETTING)


def unsuited() -> str:
    """The reason why no process on this machine can replay recorded runs to the last digit; empty when one can."""
    here = platform.machine()
    return "" if here in ARCHITECTURES else f"the runs were recorded on {ARCHITECTURES[0]}, and this is {here}"

"""The command `quantd`. Nothing heavy is imported here: `quantd --help` answers at once."""

import os
import sys
from typing import Final

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Linear algebra on one thread: the last bits of a sum must not depend on the machine's cores."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Leaves by SystemExit with the codes of `quantd.daemon.cli.failures`."""
    for name in THREADS:
        os.environ[name] = "1"  # before numpy is imported
    from quantd.daemon.cli.failures import guarded
    from quantd.daemon.cli.program import run

    sys.exit(guarded(lambda: run(sys.argv[1:] if arguments is None else arguments)))

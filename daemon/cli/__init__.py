"""The command `quantd`. Nothing heavy is imported here: `quantd --help` answers at once."""

import gc
import os
import sys
from typing import Final

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Variables that set linear algebra to one thread: the last bits of a sum must not depend on the number of cores."""

COLLECT_AFTER: Final = 5_000
"""Number of new objects that starts a garbage collection. With Python's 700, collections take a tenth of a start."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command in `arguments`, by default that of the process. Raises SystemExit with its exit code."""
    for name in THREADS:
        os.environ[name] = "1"  # before numpy is imported, which reads it once
    gc.set_threshold(COLLECT_AFTER)
    if arguments is None:  # not called by a test: the standard streams of this process may be replaced
        from quantd.daemon.cli.streams import open_standard

        open_standard()
    try:
        from quantd.daemon.cli.failures import guarded
        from quantd.daemon.cli.program import run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)  # not the constant INTERRUPTED: the import of its module may have been interrupted
    code = guarded(lambda: run(sys.argv[1:] if arguments is None else arguments))
    gc.freeze()  # else the interpreter searches all objects for cycles before it exits, for 0.2 s
    sys.exit(code)

"""The command `quantd`. Nothing heavy is imported here: `quantd --help` answers at once."""

import gc
import os
import sys
from typing import Final

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Linear algebra on one thread: the last bits of a sum must not depend on the machine's cores."""

COLLECT_AFTER: Final = 5_000
"""New objects before a garbage collection. Python's 700 scan what imports leave so often that it takes a tenth of a
start.
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Leaves by SystemExit with the codes of `quantd.daemon.cli.failures`."""
    for name in THREADS:
        os.environ[name] = "1"  # before numpy is imported, which reads it once
    gc.set_threshold(COLLECT_AFTER)
    if arguments is None:  # the process is ours
        from quantd.daemon.cli.streams import open_standard

        open_standard()
    try:
        from quantd.daemon.cli.failures import guarded
        from quantd.daemon.cli.program import run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)  # the number is in a module whose import may be the one that was interrupted
    code = guarded(lambda: run(sys.argv[1:] if arguments is None else arguments))
    gc.freeze()  # else the interpreter looks for cycles among all objects before it ends, for 0.2 s
    sys.exit(code)

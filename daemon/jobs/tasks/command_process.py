"""Runs a command of quantd in a separate process, for jobs that would take too much time or memory of the daemon's."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

NOTHING_WRITTEN: Final = "Nothing was written."
"""The last line of the errors of `quantd data fetch`; the reason is in the line before."""

LOWEST: Final = 19
"""The nice value of the lowest priority."""


async def output_of(words: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Return (exit code, output, reason why it failed) of `quantd WORDS`, run with the variables of `environ` added.

    The command runs at the lowest priority, so that it does not delay trading. If the call is cancelled, the process is
    killed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "quantd.daemon.cli", *words, env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        with suppress(OSError):  # the process may have ended
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    reason = reason_of(err.decode(errors="replace")) or f"it ended with code {process.returncode}"
    return process.returncode or 0, out, reason


def reason_of(errors: str) -> str:
    """Return the last line of a command's errors other than NOTHING_WRITTEN; empty without one."""
    lines = [line for line in errors.strip().splitlines() if line != NOTHING_WRITTEN]
    return lines[-1] if lines else ""

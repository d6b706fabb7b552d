"""Runs a command of quantd in a separate process, for jobs that would take too much time or memory of the daemon's."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

LOWEST: Final = 19
"""The nice value of the lowest priority."""


async def output_of(words: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """(exit code, output, last line of errors) of `quantd WORDS`, with the variables of `environ` added.

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
    lines = err.decode(errors="replace").strip().splitlines()
    return process.returncode or 0, out, lines[-1] if lines else f"it ended with code {process.returncode}"

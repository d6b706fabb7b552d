"""Runs a command of quantd in a process of its own, for jobs that would need too much of the daemon's process."""

import asyncio
import sys
from collections.abc import Sequence


async def output_of(words: Sequence[str]) -> tuple[int, bytes, str]:
    """(exit code, output, last line of errors) of `quantd WORDS`. A cancelled call ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quantd.daemon.cli", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = err.decode(errors="replace").strip().splitlines()
    return process.returncode or 0, out, lines[-1] if lines else f"it ended with code {process.returncode}"

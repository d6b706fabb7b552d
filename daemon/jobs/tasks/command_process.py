"""Runs a command of quantd in a separate process, for jobs that would take too much time or memory of the daemon's."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

NOTHING_WRITTEN: Final = "Nothing was written."
"""The last line of the errors of `quantd data fetch`; the reason is in the line before."""

LOWEST: Final = 19
"""The nice value of the lowest priority."""

MOST_LINE: Final = 1 << 24
"""Maximum length in bytes of a line that the process prints."""


async def output_of(
    words: Sequence[str],
    environ: Mapping[str, str] | None = None,
    on_progress: Callable[[float], object] = lambda share: None,
    begun: Callable[[int], object] = lambda pid: None,
) -> tuple[int, bytes, str]:
    """Return (exit code, output, reason why it failed) of `quantd WORDS`, run with the variables of `environ` added.

    The command runs at the lowest priority, so that it does not delay trading. `begun` gets its process id. Lines
    "progress 0.5" of its errors are passed to `on_progress`. At its end, and if the call is cancelled, the process and
    its children are killed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "quantd.daemon.cli", *words, env={**os.environ, **(environ or {})}, limit=MOST_LINE,
        start_new_session=True, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        with suppress(OSError):  # the process may have ended
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
        begun(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        output, reason = await asyncio.gather(process.stdout.read(), _reason_in(process.stderr, on_progress))
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return code, output, reason or f"its process ended with code {code}"


async def _reason_in(errors: asyncio.StreamReader, on_progress: Callable[[float], object]) -> str:
    """Return the last line of errors that is neither progress nor NOTHING_WRITTEN; empty without one."""
    reason = ""
    async for line in errors:
        text = line.decode(errors="replace").strip()
        if text.startswith("progress "):
            on_progress(float(text.removeprefix("progress ")))
        else:
            reason = reason_of(text) or reason
    return reason


def reason_of(errors: str) -> str:
    """Return the last line of a command's errors other than NOTHING_WRITTEN; empty without one."""
    lines = [line for line in errors.strip().splitlines() if line != NOTHING_WRITTEN]
    return lines[-1] if lines else ""

"""Errors of the API: one line in the log for the operator, nothing for the client."""

import traceback
from pathlib import Path
from typing import Final

import structlog

FRAMES: Final = 4
"""Innermost calls that the line names."""

log = structlog.get_logger("quantd.api")


def failed(path: str, why: BaseException) -> None:
    """Log the request's path, the error and where it arose."""
    calls = traceback.extract_tb(why.__traceback__)[-FRAMES:]
    at = " < ".join(f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in reversed(calls))
    log.error("api.failed", path=path, error=f"{type(why).__name__}: {why}", at=at)


def refused(text: str, why: object) -> None:
    """Log a request that is no HTTP; a client can send any number of them, so no stack is logged."""
    log.warning("api.refused", text=text, error=f"{type(why).__name__}: {why}".splitlines()[0])

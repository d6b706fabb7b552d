"""Internal errors of the API: one log line for the operator, no detail for the client."""

import traceback
from pathlib import Path
from typing import Final

import structlog

FRAMES: Final = 4
"""Innermost calls in the log line."""

log = structlog.get_logger("quantd.api")


def failed(path: str, why: BaseException) -> None:
    """Logs the request's path, the error and its innermost calls."""
    calls = traceback.extract_tb(why.__traceback__)[-FRAMES:]
    at = " < ".join(f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in reversed(calls))
    log.error("api.failed", path=path, error=f"{type(why).__name__}: {why}", at=at)


def refused(text: str, why: object) -> None:
    """Logs a request that is not HTTP, without a stack: a client can send any number of them."""
    log.warning("api.refused", text=text, error=f"{type(why).__name__}: {why}".splitlines()[0])

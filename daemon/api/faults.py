"""Errors of the API go to the log with all they have, and to the client with nothing."""

import structlog

log = structlog.get_logger("quantd.api")


def told(path: str, why: BaseException) -> None:
    """One line, with the stack, for the operator."""
    log.error("api.failed", path=path, exc_info=why)

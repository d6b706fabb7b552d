"""Errors of the API as problem documents (RFC 9457): JSON with a code, a sentence and the fields at fault."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

log = structlog.get_logger("quantd.api")

MEDIA_TYPE: Final = "application/problem+json"

URN: Final = "urn:quantd:problem:"
"""Beginning of a problem's `type`; the code follows."""


FRAMES: Final = 4
"""Number of innermost calls in the log line of an internal error."""

INTERNAL: Final = "internal error while this request was answered; the daemon's log names it"


class FieldFault(Struct, frozen=True):
    """A field of the query, path or body that is not accepted. `field` is its dotted path."""

    field: str
    detail: str


class Problem(Struct, frozen=True):
    """Body of each error response. `code` is for programs and keeps its meaning; `detail` is a sentence for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldFault] = []


class Refused(Exception):
    """A request that is refused: raised by a handler, it becomes a response with a Problem and no stack trace."""

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        headers: dict[str, str] | None = None,
        errors: Sequence[FieldFault] = (),
    ) -> None:
        """`code` is for programs, `text` for people; the response gets `headers`, and `errors` name wrong fields."""
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.errors = errors


def log_fault(path: str, why: Exception) -> None:
    """Log an internal error with its innermost calls, in one line."""
    calls = [(frame.f_code, line) for frame, line in traceback.walk_tb(why.__traceback__)][
        -FRAMES:
    ]  # not `traceback.extract_tb`: it reads source files
    at = " < ".join(f"{Path(code.co_filename).name}:{line} {code.co_name}" for code, line in reversed(calls))
    log.error("api.failed", path=path, error=f"{type(why).__name__}: {why}", at=at)


def error(
    status: int, code: str, text: str, headers: dict[str, str] | None = None, errors: Sequence[FieldFault] = ()
) -> web.Response:
    title = code.replace("_", " ").capitalize()
    body = msgspec.json.encode(Problem(URN + code, title, status, code, text, list(errors)))
    return web.Response(body=body, status=status, content_type=MEDIA_TYPE, headers=headers)

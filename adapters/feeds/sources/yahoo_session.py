"""The HTTP session of yfinance, which remembers the last chart of each thread, and what was wrong with it.

For an unusable answer yfinance raises errors of pandas, of its parsers or of curl. The stored answer explains the
failure better.
"""

import re
from dataclasses import dataclass
from threading import local
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from quantd.adapters.feeds.source import FIRST_ANSWER_S, SourceError, Unreachable
from quantd.adapters.feeds.sources.http_client import LATER
from quantd.trading.display_text import one_line

_BEGINNING: Final = 60
"""Characters of an unusable answer that a message shows."""

_DESCRIBED: Final = 160

RANGE: Final = "Check the symbols and the range"
_NO_DATA: Final = "exist for startDate"
"""Yahoo's words for a range without a bar."""

OTHER_ADDRESS: Final = "Check --url, or [feed] url: Yahoo's own address needs none"

_FAILURES: Final = {
    "DNSError": "its name is not resolved", "ConnectTimeout": "it does not answer", "Timeout": "it does not answer",
    "ReadTimeout": "it does not answer", "ProxyError": "the proxy refuses the connection",
    "CertificateVerifyError": "its TLS certificate is not valid", "SSLError": "no TLS connection can be made",
    "ConnectionError": "the connection is refused or was closed",
}  # fmt: skip
"""Errors of curl_cffi that mean an unreachable host -> the reason in words."""


_HOST: Final = re.compile(r"(?:resolve host:|connect to) ([\w.-]*\w)(?:(?: port |:)(\d+))?")
"""Host and port in an error of curl; after a redirect they differ from the requested ones."""


class _Error(msgspec.Struct):
    code: str = ""
    description: str | None = None


class _Result(msgspec.Struct):
    timestamp: list[msgspec.Raw] | None = None


class _Body(msgspec.Struct):
    result: list[_Result] | None
    error: _Error | None


class _Chart(msgspec.Struct):
    chart: _Body


_chart: Final = msgspec.json.Decoder(_Chart)


@dataclass(slots=True)
class LastChart:
    """The answer to the last chart request of a thread. `status` is the HTTP status, 0 before an answer.

    `failure` says how the connection failed, empty without a failure; `unreachable` is True if the host gave no answer.
    """

    host: str = ""
    status: int = 0
    kind: str = ""
    body: bytes = b""
    failure: str = ""
    unreachable: bool = False

    def problem(self, source: str, symbol: str) -> SourceError | None:
        """Return the error about an unusable answer; None if the answer says that a known symbol has no bar.

        For an unknown symbol the error's `again` is False: a repeated request cannot succeed.
        """
        if self.unreachable:
            return Unreachable(source, self.host, self.failure)
        if self.failure:
            return SourceError(source, f"{symbol}: the answer of {self.host} {self.failure}", LATER)
        if not self.host:
            return SourceError(source, f"{symbol}: no request for its chart was answered", LATER)
        body = self._decoded()
        error = None if body is None else body.error
        reason = one_line((error and (error.description or error.code)) or "", _DESCRIBED).rstrip(".")
        match self.status:
            case 404 if reason:
                return SourceError(source, f"{symbol}: {reason}", UNKNOWN, again=False)
            case 404:
                return SourceError(
                    source, f"{symbol}: {self.host} has no charts: {self._shown()}", OTHER_ADDRESS, again=False
                )
            case 401 | 403:
                return SourceError(source, f"{symbol}: {self.host} refuses the request: {self._shown()}", LATER)
            case 400 | 422 if reason and _NO_DATA not in reason:
                return SourceError(source, f"{symbol}: {self.host} refuses the request: {reason}", RANGE, again=False)
            case status if status >= 500:
                return SourceError(source, f"{symbol}: {self.host} is unavailable: {self._shown()}", LATER)
        # an answer without bars has an error or an empty result: any other answer is unreadable
        if body is None or (error is None and (body.result is None or any(part.timestamp for part in body.result))):
            return self.unreadable(source, symbol)
        return None  # a known symbol without a bar in the range

    def unreadable(self, source: str, symbol: str) -> SourceError:
        """Return the error about an answer that is no chart of bars."""
        what = f"{symbol}: the answer of {self.host} cannot be read as a chart of bars: {self._shown()}"
        return SourceError(source, what, LATER)

    def _decoded(self) -> _Body | None:
        try:
            return _chart.decode(self.body).chart
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def _shown(self) -> str:
        """Return the HTTP status, content type, length and beginning of the answer as text."""
        text = one_line(self.body[: 4 * _BEGINNING].decode("utf-8", "replace"), _BEGINNING)
        kind = one_line(self.kind or "of no kind", _BEGINNING)
        return f"HTTP {self.status}, {kind}, {len(self.body):,} bytes" + (f' "{text}"' if text else "")


UNKNOWN: Final = "It may be delisted or spelled otherwise"
"""The remedy of a symbol that Yahoo does not know."""


_last: Final = local()
"""The last chart of each thread. yfinance has one session per process, which several sources may replace."""


def begin_chart() -> LastChart:
    """Start an empty LastChart for this thread, which the thread's next requests fill, and return it."""
    chart: LastChart = LastChart()
    _last.chart = chart
    return chart


def session_of(gateway: str, limit_s: float) -> Any:
    """Return a browser-like session of curl_cffi that stores each chart's answer in its thread's last chart.

    With a gateway, requests to yahoo.com go to the gateway. The first request waits FIRST_ANSWER_S at most, later
    requests `limit_s`. After a host gave no answer, the thread's further requests for the same chart fail at once.
    """
    from curl_cffi import requests

    class Session(requests.Session):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(impersonate="chrome")
            self._patient = False

        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            """Send a request within its time limit, and note host, status and content or failure in the last chart.

            `_last` has the last chart of each thread. `_patient` is True after the first request, which waits
            FIRST_ANSWER_S at most.
            """
            chart: LastChart = getattr(_last, "chart", None) or begin_chart()
            parts = urlsplit(url)
            if gateway and (parts.hostname or "").endswith("yahoo.com"):
                url = gateway.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")
            if chart.unreachable:
                raise ConnectionError(chart.failure)
            limit = limit_s if self._patient else min(limit_s, FIRST_ANSWER_S)
            options["timeout"] = min(options.get("timeout") or limit, limit)
            try:
                answer = super().request(method, url, **options)
            except requests.RequestsError as error:
                named = _HOST.search(str(error))
                chart.host = ":".join(filter(None, named.groups())) if named else urlsplit(url).netloc
                why = next(
                    (
                        _FAILURES[error_class.__name__]
                        for error_class in type(error).__mro__
                        if error_class.__name__ in _FAILURES
                    ),
                    "",
                )
                chart.unreachable, chart.failure = bool(why), why or "is damaged or cut off"
                raise
            finally:
                self._patient = True
            if "/finance/chart/" in parts.path:
                chart.host, chart.status = urlsplit(url).netloc, answer.status_code
                chart.kind, chart.body = answer.headers.get("content-type") or "", answer.content
            return answer

    return Session()

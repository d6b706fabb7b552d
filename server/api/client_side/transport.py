"""One HTTP request to a daemon: used by the Python client and by commands of the same machine."""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from quantd.adapters.listener import at_path
from quantd.trading.display_text import endpoint_text
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, TRY_LATER, USAGE

ANSWER_S: Final = 15.0
"""Seconds within which a daemon answers a request; without an answer the request fails."""

CODES: Final = {
    401: CONFIG, 403: CONFIG, 404: USAGE, 409: CHECK_FAILED, 422: USAGE, 429: TRY_LATER, 503: TRY_LATER, 504: TRY_LATER,
}  # fmt: skip
"""Status of a response -> exit code."""


USUAL: Final = "http://127.0.0.1:8000"
"""URL of a daemon with the default settings."""

LOCAL: Final = ("localhost", "127.0.0.1", "::1")
"""Host names of this machine."""


def usual_address(environ: Mapping[str, str] = os.environ) -> str:
    """Return the default URL of the daemon: the environment variable API_URL, else USUAL, port 8000 of this machine.

    A token is sent to this URL. So an API_URL that names another machine, perhaps set for another program, raises
    ValueError.
    """
    url = environ.get("API_URL", "")
    if url and urlsplit(url).hostname not in LOCAL:
        raise ValueError(
            f"API_URL = {url!r:.80} is another machine, and a token would be sent there; give the url yourself"
        )
    return url or USUAL


class Address(NamedTuple):
    """Host, port and TLS settings of a daemon's API; `tls` is None for plain HTTP. Or its Unix socket, without TLS."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    socket: Path | None = None

    def __str__(self) -> str:
        return str(self.socket or endpoint_text(self.host, self.port))


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: Path, within_s: float) -> None:
        super().__init__("localhost", timeout=within_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        at_path(self._path, self.sock.connect)


class Response(NamedTuple):
    """An HTTP response with its whole body."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


def exchange(
    address: Address, method: str, path: str, headers: Mapping[str, str], body: bytes | None, within_s: float = ANSWER_S
) -> Response:
    """Send one request and return its response. Raises OSError on a failure, also for a response that is not HTTP."""
    with opened(address, method, path, headers, body, within_s) as response:
        try:
            data = response.read()
        except http.client.HTTPException as why:
            raise OSError(f"the response is cut off ({type(why).__name__})") from None
        return Response(response.status, response.reason, dict(response.headers), data)


@contextmanager
def opened(
    address: Address, method: str, path: str, headers: Mapping[str, str], body: bytes | None, within_s: float
) -> Iterator[http.client.HTTPResponse]:
    """Yield a response whose body the caller reads. Raises OSError without an answer in `within_s` seconds."""
    connection: http.client.HTTPConnection
    if address.socket is not None:
        connection = _UnixConnection(address.socket, within_s)
    elif address.tls is None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=within_s)
    else:
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=within_s, context=address.tls)
    try:
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
        except http.client.HTTPException as why:
            raise OSError(f"it does not speak HTTP ({type(why).__name__})") from None
        yield response
    finally:
        connection.close()

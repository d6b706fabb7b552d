"""The Python client of a daemon: a method for each route, with the types that the daemon itself answers with.

The methods are made from `Call` records, which stand beside the routes in the code. So a group of routes in another
top-level folder, or in another package, adds its own methods. Type checkers read the methods of `quantd.Client` in
`quantd/client_types.pyi`.
"""

import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from quantd.server.api import documents
from quantd.server.api.client_side.api_error import ApiError, away, decoded, refused
from quantd.server.api.client_side.client_methods import with_methods
from quantd.server.api.client_side.transport import ANSWER_S, Address, Response, exchange, opened, usual_address
from quantd.server.api.idempotency import HEADER
from quantd.server.api.paging import Searched
from quantd.server.api.route_groups import client_calls
from quantd.server.api.routes.prediction_routes import Input, Method
from quantd.server.api.routes.proposal_routes import Wanted

__all__ = ["Client", "Input", "Method", "Searched", "Wanted"]

ATTEMPTS: Final = 3
"""Most attempts of a read; a request that changes the daemon is sent once."""

REST_S: Final = 0.2
"""Seconds before the second attempt; doubled for each further one."""

LONGEST_REST_S: Final = 5.0
"""Longest pause between two attempts, in seconds; it also bounds a Retry-After header."""

AGAIN: Final = frozenset({429, 503})
"""Statuses at which a read is sent again: too many requests, not ready."""

T = TypeVar("T")


@with_methods(client_calls())
class Client:
    """A client of the daemon at an address; each call is a separate request, so that threads may share a client.

        client = quantd.Client(token=Path("state/token").read_text().strip())
        print(client.status().equity)

    `certificate` is the certificate file of a daemon that signed its certificate itself. A read is sent up to three
    times. A request that changes the daemon has an idempotency key and is sent once; to repeat an earlier request
    safely, pass its `key`. Raises ApiError, a `quantd.Error`.
    """

    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        certificate: str | Path | None = None,
        timeout_s: float = ANSWER_S,
    ) -> None:
        """Without a `url`, API_URL of the environment is used, else port 8000 of this machine. Raises ApiError for a
        `url` that is no address of a daemon."""
        try:
            url = url or usual_address()
        except ValueError as error:
            raise ApiError(0, "url", str(error)) from None
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1  # not a number, or above 65535
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or port == -1:
            raise ApiError(
                0, "url", f"url = {url!r} is no address of a daemon; write one such as http://127.0.0.1:8000"
            )
        context = None
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=None if certificate is None else str(certificate))
        self._address = Address(parts.hostname, port or (443 if context else 80), context)
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._timeout_s = timeout_s

    def health(self) -> documents.Health:
        """Whether the daemon is live and ready; a daemon that is not ready is an answer and raises no ApiError."""
        response = self._ask("GET", "/health", None, {}, frozenset())
        return decoded(response, documents.Health, self._address, (200, 503))

    def metrics(self) -> str:
        """The metrics in the text format of Prometheus."""
        return refused(self._ask("GET", "/metrics", None, {}, AGAIN), self._address).body.decode()

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return self._get("/openapi.json", dict[str, Any])

    def events(self) -> Iterator[documents.Live]:
        """The overview after each commit, at most four a second, until the daemon ends the stream."""
        headers = self._headers | {"Accept": "text/event-stream"}
        try:
            # None: the request has no body. The daemon sends a comment at least every 15 s
            with opened(self._address, "GET", "/api/v1/events", headers, None, self._timeout_s + ANSWER_S) as response:
                if response.status != 200:
                    refused(Response(response.status, response.reason, {}, response.read()), self._address)
                for line in response:
                    if line.startswith(b"data: "):
                        yield msgspec.json.decode(line[6:], type=documents.Live)
        except OSError as why:
            raise away(self._address, why) from None

    def _question(self, path: str, body: Mapping[str, Any], kind: type[T]) -> T:
        """Send a POST that changes nothing, and return its answer as `kind`; after a failure it is sent again."""
        headers = {"Content-Type": "application/json"}
        return decoded(self._ask("POST", path, msgspec.json.encode(body), headers, AGAIN), kind, self._address)

    def _get(self, path: str, kind: type[T], **query: object) -> T:
        parameters = {name: str(value) for name, value in query.items() if value not in (None, "")}
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        return decoded(self._ask("GET", target, None, {}, AGAIN), kind, self._address)

    def _post(self, path: str, body: Mapping[str, Any], kind: type[T], key: str) -> T:
        headers = {"Content-Type": "application/json", HEADER: key or uuid.uuid4().hex}
        return decoded(self._ask("POST", path, msgspec.json.encode(body), headers), kind, self._address)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], again: frozenset[int] | None = None
    ) -> Response:
        """Send a request, with `headers` besides the client's, and return the response.

        `again` has the HTTP statuses after which the request is repeated; it is also repeated after a lost connection.
        With `again` None the request is sent once.
        """
        attempts = 1 if again is None else ATTEMPTS
        for attempt in range(1, attempts + 1):
            rest_s = REST_S * 2 ** (attempt - 1)
            try:
                response = exchange(self._address, method, path, self._headers | headers, body, self._timeout_s)
            except OSError as why:
                if attempt == attempts:
                    raise away(self._address, why) from None
            else:
                if attempt == attempts or response.status not in (again or ()):
                    return response
                retry_after = response.headers.get("Retry-After", "")
                rest_s = max(rest_s, float(retry_after) if retry_after.isdigit() else 0.0)
            time.sleep(min(rest_s, LONGEST_REST_S))
        raise AssertionError("the last attempt returns or raises")

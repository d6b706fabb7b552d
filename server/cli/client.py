"""Client of the API of the daemon that runs in a state folder, with the token in this folder."""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place
from quantd.regular_file import NotRead, read_regular
from quantd.server.api.client_side.transport import ANSWER_S, CODES, Address, exchange
from quantd.server.api.place import SOCKET, ApiPlace, place_in, trusting
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER

T = TypeVar("T")


class Unanswered(Failure):
    """No daemon answers, so that nobody knows whether the request was carried out."""

    def __init__(self, text: str) -> None:
        super().__init__(text, TRY_LATER)


class Daemon:
    """A daemon at an address, asked with the token of its state folder.

    With `verified` its certificate is checked: it is not the daemon of a state folder of this user.
    """

    def __init__(self, reached: ApiPlace, token: str, folder: Path, *, verified: bool = False) -> None:
        self.reached = reached
        self._tls = None if not reached.tls else ssl.create_default_context() if verified else trusting()
        self._token = token
        self._folder = folder

    def get(self, path: str) -> Any:
        """Return the JSON at a path. Raises Failure if the daemon refuses, and Unanswered without an answer."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object], within_s: float = ANSWER_S) -> Any:
        """Return the JSON response to a command, which is then in the journal.

        Raises Failure if the daemon refuses, and Unanswered without an answer.
        """
        return self._ask("POST", path, _given(body), within_s)

    def stop(self, name: str, body: Mapping[str, object], within_s: float = ANSWER_S) -> Any:
        """Return the JSON response to a halt or reduce: by the Unix socket, without one by the port for halts alone.

        Raises Failure if the daemon refuses, and Unanswered without an answer.
        """
        path, place = self._folder / SOCKET, self.reached
        door = Address(place.host, place.halt_port, trusting() if place.tls else None, path if path.exists() else None)
        return self._ask("POST", f"/{name}", _given(body), within_s, door)

    def listens(self) -> bool:
        """Whether the daemon's address accepts connections."""
        try:
            socket.create_connection((self.reached.host, self.reached.port), ANSWER_S).close()
        except OSError:
            return False
        return True

    def connection(self) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        """(Connection for many requests, headers for each of them)."""
        host, port = self.reached.host, self.reached.port
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        if self.reached.tls:
            return http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=trusting()), headers
        return http.client.HTTPConnection(host, port, timeout=ANSWER_S), headers

    def _ask(
        self, method: str, path: str, body: bytes | None, within_s: float = ANSWER_S, address: Address | None = None
    ) -> Any:
        """Send a request with the token of the daemon, and return the decoded JSON of its answer.

        Raises Unanswered if no quantd answers, and Failure for an error status.
        """
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        address = address or Address(self.reached.host, self.reached.port, self._tls)
        try:
            response = exchange(address, method, path, headers, body, within_s)
        except OSError as why:
            raise Unanswered(f"the daemon at {address} does not answer: {why}") from None
        try:
            document = json.loads(response.body)
        except ValueError:
            raise Unanswered(f"the server at {address} is not quantd; check which program uses this port") from None
        if response.status >= 400 and path != "/health":  # /health answers 503 with a document while it is not ready
            text = document.get("detail", response.reason)
            raise Failure(text, CODES.get(response.status, CHECK_FAILED))
        return document


def _given(body: Mapping[str, object]) -> bytes:
    """The JSON of a body, without the options that the command line leaves out: the daemon refuses an empty name, and
    answers an empty reason with a remedy."""
    return json.dumps({name: value for name, value in body.items() if value != "" or name == "reason"}).encode()


RUNS: Final = "a daemon that runs; leave it out, or change the configuration and restart the daemon"
"""What an override does not change."""


def named(place: Place) -> Daemon | None:
    """The daemon whose address and token are in this state folder; None without address or token.

    The daemon may have been killed since.
    """
    try:
        api_place = place_in(place.folder)
        return (
            None
            if api_place is None
            else Daemon(api_place, read_regular(place.folder / api_place.token).data.decode().strip(), place.folder)
        )
    except (OSError, NotRead, UnicodeDecodeError):
        return None


def running(place: Place) -> Daemon | None:
    """The daemon of this state folder; None if none answers."""
    daemon = named(place)
    try:
        if daemon is not None:
            daemon.get("/health")
    except Failure:
        return None
    return daemon


def reach(place: Place) -> Daemon:
    """Return the daemon of this state folder. No request is sent to it, because a halt must be quick.

    Raises Unanswered, a Failure, if no daemon listens, and Failure for an override that the daemon would not read.
    """
    daemon = named(place.unchanged(RUNS))
    if daemon is None or not daemon.listens():
        raise Unanswered(
            f"no daemon runs on the state folder {place.folder}: start one with `quantd run`, or name another folder "
            "with --state."
        )
    return daemon


def document_of(place: Place, path: str, stopped: Callable[[], object]) -> Any:
    """The JSON at a path of this state folder's daemon.

    Without a running daemon, or with an empty path, it is the value of `stopped()` as JSON, which reads the store.
    Raises Failure for an override that the daemon would not read."""
    daemon = running(place) if path else None
    if daemon is not None:
        place.unchanged(RUNS)
    return daemon.get(path) if daemon is not None else msgspec.to_builtins(stopped())


def posted(place: Place, path: str, body: Mapping[str, object], type: type[T], within_s: float = ANSWER_S) -> T:
    """Return the daemon's response to a command. Raises Failure if it refuses, and Unanswered without an answer."""
    return msgspec.convert(reach(place).post(path, body, within_s), type)

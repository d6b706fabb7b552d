"""Client of the API of the daemon that runs in a state folder, with the token in this folder."""

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place
from quantd.regular_file import NotRead, read_regular
from quantd.server.api.client_side.transport import ANSWER_S, CODES, Address, exchange
from quantd.server.api.place import ApiPlace, place_in, trusting
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER

T = TypeVar("T")


class Unanswered(Failure):
    """No daemon answers; whether it carried out a request is unknown."""

    def __init__(self, text: str) -> None:
        super().__init__(text, TRY_LATER)


class Daemon:
    """A daemon by its address."""

    def __init__(self, reached: ApiPlace, token: str) -> None:
        self.reached = reached
        self._token = token

    def get(self, path: str) -> Any:
        """Return the JSON at a path. Raises Failure where the daemon refuses, and Unanswered without an answer."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: object, within_s: float = ANSWER_S) -> Any:
        """Return the JSON response to a command, which is durable by then. Raises as `get`."""
        return self._ask("POST", path, json.dumps(body).encode(), within_s)

    def listens(self) -> bool:
        """Whether its address accepts connections."""
        try:
            socket.create_connection((self.reached.host, self.reached.port), ANSWER_S).close()
        except OSError:
            return False
        return True

    def connection(self) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        """A connection for many requests, and their headers."""
        host, port = self.reached.host, self.reached.port
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        if self.reached.tls:
            return http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=trusting()), headers
        return http.client.HTTPConnection(host, port, timeout=ANSWER_S), headers

    def _ask(self, method: str, path: str, body: bytes | None, within_s: float = ANSWER_S) -> Any:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        address = Address(self.reached.host, self.reached.port, trusting() if self.reached.tls else None)
        try:
            response = exchange(address, method, path, headers, body, within_s)
        except OSError as why:
            raise Unanswered(f"the daemon at {address} does not answer: {why}") from None
        try:
            document = json.loads(response.body)
        except ValueError:
            raise Unanswered(f"what answers at {address} is not quantd") from None
        if response.status >= 400 and path != "/health":
            text = document.get("detail", response.reason)
            raise Failure(text, CODES.get(response.status, CHECK_FAILED))
        return document


def named(place: Place) -> Daemon | None:
    """The daemon whose address is in this state folder; it may have been killed."""
    try:
        reached = place_in(place.folder)
        return (
            None
            if reached is None
            else Daemon(reached, read_regular(place.folder / reached.token).data.decode().strip())
        )
    except (OSError, NotRead, UnicodeDecodeError):
        return None


def running(place: Place) -> Daemon | None:
    """The daemon of this state folder, None when none responds."""
    daemon = named(place)
    try:
        if daemon is not None:
            daemon.get("/health")
    except Failure:
        return None
    return daemon


def reach(place: Place) -> Daemon:
    """Return the daemon of this state folder, without a request to it, because a kill switch must be quick.

    Raises Unanswered, a Failure, where no daemon listens.
    """
    daemon = named(place)
    if daemon is None or not daemon.listens():
        raise Unanswered(
            f"no daemon runs on the state folder {place.folder}: start one with `quantd run`, or name another folder "
            f"with --state.\nTo block trading from the next start on, create a file: touch {place.folder / 'HALT'}"
        )
    return daemon


def document_of(place: Place, path: str, stopped: Callable[[], object]) -> Any:
    """The JSON document at a path of the daemon of this state folder, or `stopped()` as JSON without a daemon."""
    daemon = running(place)
    return daemon.get(path) if daemon is not None else msgspec.to_builtins(stopped())


def posted(place: Place, path: str, body: object, type: type[T]) -> T:
    """Return the response of the daemon of this state folder to a command. Raises as `reach` and `Daemon.post`."""
    return msgspec.convert(reach(place).post(path, body), type)

"""Speaks to the daemon that runs in a state folder, over the loopback interface, with the token it made."""

import http.client
import json
import socket
import ssl
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, TRY_LATER, USAGE

ANSWER_S: Final = 15.0


class Reached(Struct, frozen=True):
    """What `api.json` says."""

    host: str
    port: int
    pid: int
    tls: bool = False
    token: str = "token"


class Daemon:
    """A daemon that answers."""

    def __init__(self, reached: Reached, token: str) -> None:
        self.reached = reached
        self._token = token

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises Failure."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """The JSON answer to a command, which is durable by then. Raises Failure."""
        return self._ask("POST", path, json.dumps(body))

    def listens(self) -> bool:
        """Whether anything listens where it was."""
        try:
            socket.create_connection((self.reached.host, self.reached.port), ANSWER_S).close()
        except OSError:
            return False
        return True

    def _ask(self, method: str, path: str, body: str | None) -> Any:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = _connection(self.reached)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            data = response.read()
        except OSError as why:
            raise Failure(f"the daemon at {_place(self.reached)} does not answer: {why}", TRY_LATER) from None
        finally:
            connection.close()
        try:
            found = json.loads(data)
        except ValueError:
            raise Failure(f"what answers at {_place(self.reached)} is not quantd", TRY_LATER) from None
        if response.status >= 400 and path != "/health":
            text = found.get("error", {}).get("text", response.reason)
            codes = {
                401: CONFIG,
                404: USAGE,
                409: CHECK_FAILED,
                422: USAGE,
                429: TRY_LATER,
                503: TRY_LATER,
                504: TRY_LATER,
            }
            raise Failure(text, codes.get(response.status, CHECK_FAILED))
        return found


def named(place: Place) -> Daemon | None:
    """The daemon that wrote into this state folder where it listens; one that was killed left that behind."""
    try:
        reached = msgspec.json.decode((place.folder / "api.json").read_bytes(), type=Reached)
        token = (place.folder / reached.token).read_text().strip()
    except (OSError, msgspec.DecodeError):
        return None
    return Daemon(reached, token)


def running(place: Place) -> Daemon | None:
    """The daemon of this state folder, None when none answers."""
    daemon = named(place)
    try:
        if daemon is not None:
            daemon.get("/health")
    except Failure:
        return None
    return daemon


def reach(place: Place) -> Daemon:
    """The daemon of this state folder, asked for nothing yet: a kill switch has no time for questions. Raises Failure
    with the remedy when none runs."""
    daemon = named(place)
    if daemon is None or not daemon.listens():
        raise Failure(
            f"no daemon runs in {place.folder}: start one with `quantd run`, or name its folder with --state.\n"
            f"To keep a stopped one from trading at its next start: touch {place.folder / 'HALT'}",
            TRY_LATER,
        )
    return daemon


def _connection(reached: Reached) -> http.client.HTTPConnection:
    if not reached.tls:
        return http.client.HTTPConnection(reached.host, reached.port, timeout=ANSWER_S)
    # the certificate is the daemon's own and its place was written by it: what matters here is who reads the folder
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(reached.host, reached.port, timeout=ANSWER_S, context=context)


def _place(reached: Reached) -> str:
    return f"{reached.host}:{reached.port}"

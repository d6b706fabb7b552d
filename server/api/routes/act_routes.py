"""GET /api/v1/acts/{key}: what became of a request whose answer was lost, by its idempotency key."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from quantd.server.api.access.guard import TOKEN, who
from quantd.server.api.client_calls import read
from quantd.server.api.documents import Query
from quantd.server.api.idempotency import MOST, Keys, State, key_fault
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read, Route

NO_ACT: Final = "no_act"
"""Code of the 404 where no request with the key did anything, to tell it from the 404 of an unknown path."""


class OfAct(Query, frozen=True):
    """The age of a request, and whether it was a command such as a halt."""

    age_s: Annotated[
        float, Meta(ge=0, le=1e9, description="Seconds since it was sent; an older key than what is kept is unknown.")
    ] = 0.0
    command: Annotated[
        Literal["yes", "no"],
        Meta(description="Whether it was sent to /api/v1/commands, which obeys on a full disk too."),
    ] = "no"


class ActNow(Struct, frozen=True):
    """What became of a request: `running`, `done` with its `answer`, `refused` with the `text`, or `unknown`.

    The result is unknown if the daemon was killed, or its disk failed, before the answer was recorded. It is also
    unknown if the request is older than the daemon's records. `text` has the cause. `status` is the HTTP status of the
    first answer, 0 without one. A request that failed after its commit is `done`, and `text` says so.
    """

    key: str
    state: State
    status: int
    text: str
    answer: msgspec.Raw


class ActRoutes:
    """The handler of GET /api/v1/acts/{key}: what became of an earlier request."""

    def __init__(self, keys: Keys, reads_only: Callable[[], str] | None) -> None:
        """`reads_only` is set on a read-only instance: it returns the reason why the instance has no keys."""
        self._keys = keys
        self._reads_only = reads_only

    def routes(self) -> tuple[Route, ...]:
        """The route GET /api/v1/acts/{key}."""
        words = "What became of a request of this token, by its idempotency key; 404 where it did nothing."
        return (Read("/api/v1/acts/{key}", self.act, ActNow, words, OfAct),)

    async def act(self, request: web.Request, query: OfAct) -> ActNow:
        """Find a request by its key. Raises Refused: 401 without a token, 404 where no such request did anything."""
        if self._reads_only is not None:
            raise Refused(409, "read_only", self._reads_only())
        if request.get(TOKEN) is None:
            raise Refused(
                401,
                "token",
                "an earlier request is found by the token that sent it; send that token, or sign in with it",
            )
        key, sender = request.match_info["key"], who(request)
        if (fault := key_fault(key)) is not None:
            raise fault
        became = await self._keys.became(sender, key, age_s=query.age_s, halt=query.command == "yes")
        if became is None:
            text = f"no request of {sender} with this key did anything; the newest {MOST:,} keys of all tokens are kept"
            raise Refused(404, NO_ACT, text)
        return ActNow(key, became.state, became.status, became.text, msgspec.Raw(became.body))


ROUTES: Final = RouteGroup(
    "acts",
    150,
    lambda context: ActRoutes(context.keys, context.refusal),
    calls=(
        read(
            "act",
            "/acts/{key}",
            ActNow,
            "What became of the request of this token with an idempotency key; ApiError 404 where it did nothing.\n\n"
            "With the seconds since it was sent, it is unknown where it is older than what the daemon remembers.",
            OfAct,
        ),
    ),
)

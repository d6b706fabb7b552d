"""GET /api/v1/acts/{key}: what became of a request whose answer was lost, by its idempotency key."""

from typing import Final

from aiohttp import web

from quantd.server.api.access.guard import TOKEN, who
from quantd.server.api.documents import Query
from quantd.server.api.idempotency import ActNow
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import Read

NO_ACT: Final = "no_act"
"""Code of the 404 where no request with the key did anything, to tell it from the 404 of an unknown path."""


async def act(context: RouteContext, request: web.Request, query: Query) -> ActNow:
    """Find a request by its key. Raises Refused: 401 without a token, 404 where no such request did anything."""
    if context.refusal is not None:
        raise Refused(409, "read_only", context.refusal())
    if request.get(TOKEN) is None:
        text = "an earlier request is found by the token that sent it; send that token, or sign in with it"
        raise Refused(401, "token", text)
    if (became := context.keys.became(who(request), request.match_info["key"])) is None:
        text = (
            f"no request of {who(request)} with this key is in the journal. A halt or reduce may be in force "
            "without it: see /api/v1/switches. Research and schedules have no entry: see /api/v1/jobs"
        )
        raise Refused(404, NO_ACT, text)
    return became


ROUTES: Final = RouteGroup(
    "acts",
    150,
    lambda context: context,
    routes=(
        Read(
            "/api/v1/acts/{key}", act,
            "What became of a request of this token, by its idempotency key; 404 where the journal has no such key.",
            call="act",
        ),
    ),
)  # fmt: skip

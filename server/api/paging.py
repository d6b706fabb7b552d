"""Pages of lists: an opaque cursor names the last row of a page, so that added rows move no row to another page.

What can go wrong: rows arrive between two requests, and a row is then sent twice or never. The newest row comes first,
so the position of a row changes with each new row. The key of a row never changes. So a cursor has the key of the last
row, and the next page begins after it.

A cursor of another list or of another run is refused, because its key would name an unrelated row.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypedDict

import msgspec
from msgspec import Meta

from quantd.adapters.store.read_models import Group, Page
from quantd.server.api.documents import MOST_NS, PLAIN, Query, Rows, Since, Symbol, Until
from quantd.server.api.problems import FieldFault, Refused

Cursor = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_-]{0,200}(?!\n)$", description="`next` of the page before; the newest rows without it."),
]

Totals = Annotated[Literal["yes", "no"], Meta(description="Whether all rows are counted, not those of the page.")]

KEYS: Final = {
    "orders": 4, "fills": 2, "decisions": 2, "alerts": 2, "portfolio": 2, "risk": 2, "allocations": 2, "refusals": 3,
    "log": 1,
}  # fmt: skip
"""Name of a list -> number of integers in the key of its rows."""


class Searched(TypedDict, total=False):
    """The query of a page of a list: at most `limit` rows after the row in `cursor`, the `next` of the previous page.

    The rows have `since` <= instant < `until` in ns UTC, the `symbol`, and the text `search`.
    """

    limit: int
    cursor: str
    since: int
    until: int
    symbol: str | None
    search: str


class Paged(Query, frozen=True):
    """A page of a list, the newest row first."""

    limit: Rows = 100
    cursor: Cursor = ""
    since: Since = 0


class PagedBySymbol(Paged, frozen=True):
    """A page of a list with symbols."""

    symbol: Symbol | None = None
    until: Until = MOST_NS


class PagedDecisions(Paged, frozen=True):
    """A page of rounds, whole or of one agent."""

    agent: Annotated[
        str,
        Meta(pattern=PLAIN, description="Only rounds in which this agent decided, and its part of each, not the rest."),
    ] = ""


class PagedOrders(PagedBySymbol, frozen=True):
    """A page of orders of one group whose symbol, id, agents, side, state or limit contains a text."""

    group: Annotated[Group, Meta(description="Only open orders, those cut by a limit, or those of a final state.")] = (
        "all"
    )
    search: Annotated[
        str,
        Meta(pattern=PLAIN, description="Only orders whose symbol, id, agents, side, state or limit contains this."),
    ] = ""
    totals: Totals = "no"


class PagedAlerts(Paged, frozen=True):
    """A page of alerts that contain a text."""

    until: Until = MOST_NS
    search: Annotated[str, Meta(pattern=PLAIN, description="Only alerts that contain this text, in any case.")] = ""
    totals: Totals = "no"


def before(query: Paged, of: str, run: str) -> tuple[int, ...]:
    """The row key in a query's cursor; empty without a cursor. The page has the rows that are older than this row.

    `of` is the name of the list. Raises Refused for a cursor of another list or run.
    """
    if not query.cursor:
        return ()
    try:
        data = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        cursor_list, cursor_run, *key = msgspec.msgpack.decode(data, type=list[str | int])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        cursor_list, cursor_run, key = "", "", []
    integers = tuple(column for column in key if isinstance(column, int) and -1 <= column <= MOST_NS)
    # a row key of this list has KEYS[of] integers
    if (cursor_list, cursor_run) != (of, run) or len(integers) != len(key) or len(key) != KEYS[of]:
        text = f"the cursor is of another list than {of}, or of another run; send `next` of the previous page, or none"
        raise Refused(422, "query", text, errors=[FieldFault("cursor", text)])
    return integers


def following(page: Page[Any], of: str, run: str) -> str:
    """The cursor for the page after `page` of the list `of`; empty at the end of the list."""
    return cursor_of(of, run, page.next) if page.more else ""


def cursor_of(of: str, run: str, key: Sequence[int]) -> str:
    """The cursor of a page whose last row has this key, in the list `of` of a run, as URL-safe base64."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([of, run, *key])).decode().rstrip("=")

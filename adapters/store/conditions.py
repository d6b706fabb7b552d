"""The SQL conditions by which orders and alerts are selected and pages continued."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import or_, tuple_
from sqlmodel import col

from quantd.adapters.store.read_models import Group
from quantd.adapters.store.tables.table_models import AlertRow, OrderRow
from quantd.trading.orders import OrderState

GROUPS: Final[dict[Group, tuple[int, ...]]] = {
    "all": (),
    "open": tuple(state for state in OrderState if state < OrderState.FILLED),
    "cut": (),
    "filled": (OrderState.FILLED,),
    "cancelled": (OrderState.CANCELLED,),
    "rejected": (OrderState.REJECTED,),
    "expired": (OrderState.EXPIRED,),
}
"""Group of orders -> its states; empty for a group that its states do not define."""


def keys_before(query: Any, columns: Sequence[Any], values: Sequence[int]) -> Any:
    """Return the query for rows whose key is below `values`, one for each column; without values, the query itself."""
    return query.where(tuple_(*columns) < tuple_(*values)) if values else query


def containing(text: str, *columns: Any, alternatives: Sequence[Any] = ()) -> list[Any]:
    """Return the condition that a column contains the text, ignoring case, or that one of the `alternatives` holds;
    none if the text is empty."""
    return [or_(*(column.icontains(text, autoescape=True) for column in columns), *alternatives)] if text else []


def orders_with(since: int, until: int, symbol: str | None, search: str, limits: Collection[int]) -> list[Any]:
    """Return the SQL conditions on orders with since <= ts < until. `search` is looked for in symbol, id, agents,
    side, state and limit."""
    of_symbol = [] if symbol is None else [OrderRow.symbol == symbol]
    text, lots = search.lower(), col(OrderRow.lots)
    states = [state for state in OrderState if text in state.name.lower()]
    sides = [of_side for side, of_side in (("buy", lots > 0), ("sell", lots < 0)) if text in side]
    code_conditions = [col(OrderRow.state).in_(states), col(OrderRow.reason).in_(limits), *sides]
    texts = col(OrderRow.symbol), col(OrderRow.id), col(OrderRow.agents)
    return [
        OrderRow.ts >= since,
        OrderRow.ts < until,
        *of_symbol,
        *containing(search, *texts, alternatives=code_conditions),
    ]


def of_group(group: Group) -> list[Any]:
    """Return the SQL condition on the orders of a group; none for all orders."""
    if group == "cut":
        return [OrderRow.reason != 0]
    return [col(OrderRow.state).in_(GROUPS[group])] if GROUPS[group] else []


def alerts_with(since: int, until: int, search: str) -> list[Any]:
    """Return the SQL conditions on alerts with since <= ts < until and `search` in one of their texts."""
    texts = (AlertRow.level, AlertRow.kind, AlertRow.text, AlertRow.symbol, AlertRow.agent)
    return [AlertRow.ts >= since, AlertRow.ts < until, *containing(search, *map(col, texts))]

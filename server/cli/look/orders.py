"""List the newest orders with their present state."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Last, OfShadow, Run, RunOptions
from quantd.daemon.cli.output import answer, records
from quantd.server.cli.client import document_of
from quantd.trading.display_text import local

if TYPE_CHECKING:
    from quantd.adapters.store.queries import Reader
    from quantd.daemon.views.shortfall import Costed

PAGE: Final = 10_000
"""Most orders that the daemon returns in one answer."""


def orders(
    chosen: RunOptions = DEFAULTS,
    last: Last = 20,
    run: Run = None,
    symbol: Annotated[str | None, typer.Option(help="One symbol.")] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Cut and refused orders instead, with addresses for `quantd why`.")
    ] = False,
    shadow: OfShadow = "",
    as_json: Json = False,
) -> None:
    where = chosen.place().unchanged()
    if refused:
        _show_refused(where.reader(run, shadow), last, symbol, as_json=as_json)
        return
    query = urlencode({"limit": last} | ({} if symbol is None else {"symbol": symbol}))
    # the costs that --json has, and orders of another run or of a shadow, are in the store only
    stored_only = as_json or run or shadow or last > PAGE

    def stored() -> dict[str, Any]:
        from quantd.daemon.views.addresses import check_symbol
        from quantd.daemon.views.rows import order_line

        reader = where.reader(run, shadow)
        check_symbol(reader, symbol)
        orders = reader.orders(last=last, symbol=symbol)
        costs: Mapping[str, Costed] = {}
        if as_json:  # its imports take a third of a second
            from quantd.daemon.recovery.replay import slices_of
            from quantd.daemon.views.shortfall import of_orders

            costs = of_orders(reader, orders, slices_of(where.records(), reader.run.run, where.folder))
        return {"run": reader.run.run, "orders": [order_line(row, costs.get(row.id)) for row in orders[::-1]]}

    document = document_of(where, "" if stored_only else f"/api/v1/orders?{query}", stored)
    document["orders"].reverse()  # the newest is last
    reviews = {} if run or shadow else document_of(where, "/api/v1/reviews", dict)
    held = [order for order in reviews.get("held", []) if symbol is None or symbol in order["orders"]]
    lines = [
        f"{order['id']} of {order['agent']}, "
        + ", ".join(f"{name} {quantity}" for name, quantity in order["orders"].items())
        + f", is {order['until']}; `quantd cancel {order['id']} --reason WHY` ends it"
        for order in held
    ]
    if reviews.get("waiting"):
        lines.append(f"{len(reviews['waiting'])} proposals wait for a person: `quantd review` lists them")
    # without a daemon nobody has asked for them, and none would be a claim
    document |= {"held": held} if reviews else {}
    answer(as_json, document, lambda: _print_table(document["orders"]), *lines)


def _show_refused(reader: "Reader", last: int, symbol: str | None, *, as_json: bool) -> None:
    """Print the newest cut and refused orders."""
    from quantd.daemon.views.addresses import AskedLine, check_symbol, refused_lines

    check_symbol(reader, symbol)
    lines = refused_lines(reader, last=last, symbol=symbol)
    columns: dict[str, str | Callable[[AskedLine], str]] = {
        "time (New York)": lambda line: local(line.ts), "address": "address", "who": "who", "side": "side",
        "requested": "asked:", "passed": "allowed:", "symbol": "symbol", "cut by": "reason",
    }  # fmt: skip
    last_line = f"quantd why {lines[-1].address} explains it" if lines else "nothing was cut or refused"
    answer(as_json, {"run": reader.run.run, "refused": lines}, lambda: records(lines, columns), last_line)


def _print_table(orders: list[dict[str, Any]]) -> None:
    """Print orders as a table."""
    records(
        orders,
        {"time (New York)": lambda order: local(order["ts"]), "order": "id", "side": "side", "qty": "qty:",
         "symbol": "symbol", "limit": "limit:", "price": "price:", "fee": "fee:", "state": _progress,
         "cut by": "reason", "agent": lambda order: order["agent"].replace("+", ", ")},
    )  # fmt: skip


def _progress(order: dict[str, Any]) -> str:
    """The state of an order, with the filled quantity if the order is partly filled."""
    partly = order["state"] != "filled" and order["filled"] not in ("", "0")
    return f"{order['state']} {order['filled']}" if partly else order["state"]


COMMAND: Final = Command("Look", 20, orders)

"""List the newest orders with their present state."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Last, OfShadow, Run, State
from quantd.daemon.cli.output import print_json, say, table
from quantd.daemon.cli.places import Place, place
from quantd.server.cli.client import running
from quantd.trading.display_text import local

PAGE: Final = 10_000
"""Most orders that the daemon returns in one answer."""


def orders(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    last: Last = 20,
    run: Run = None,
    symbol: Annotated[str | None, typer.Option(help="One symbol.")] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Cut and refused orders instead, with addresses for `quantd why`.")
    ] = False,
    shadow: OfShadow = "",
    as_json: Json = False,
) -> None:
    where = place(config, state)
    # only the newest orders without more come from a running daemon, which is faster; all else is read from the store
    daemon_suffices = not (refused or as_json or run or shadow)
    if daemon_suffices and last <= PAGE and (newest := _daemon_orders(where, last, symbol)) is not None:
        _print_table(newest)
        return
    from quantd.daemon.recovery.replay import slices_of
    from quantd.daemon.views.addresses import refused_lines
    from quantd.daemon.views.rows import order_line
    from quantd.daemon.views.shortfall import of_orders

    reader = where.reader(run, shadow)
    if refused:
        lines = refused_lines(reader, last=last, symbol=symbol)
        if as_json:
            print_json({"run": reader.run.run, "refused": lines})
            return
        table(
            ("time (New York)", "address", "who", "side", "requested", "passed", "symbol", "cut by"),
            [
                (local(line.ts), line.address, line.who, line.side, line.asked, line.allowed, line.symbol, line.reason)
                for line in lines
            ],
            ("requested", "passed"),
        )
        say(f"quantd why {lines[-1].address} explains it" if lines else "nothing was cut or refused")
        return
    orders = reader.orders(last=last, symbol=symbol)
    if as_json:
        costs = of_orders(reader, orders, slices_of(where.records(), reader.run.run, where.folder))
        print_json({"run": reader.run.run, "orders": [order_line(row, costs.get(row.id)) for row in orders]})
        return
    _print_table([msgspec.to_builtins(order_line(row)) for row in orders])


def _daemon_orders(where: Place, last: int, symbol: str | None) -> list[dict[str, Any]] | None:
    """The newest orders, oldest first, from the running daemon; None if none runs.

    To ask the daemon is faster than to open its store in this process.
    """
    if (daemon := running(where)) is None:
        return None
    query = {"limit": last} | ({} if symbol is None else {"symbol": symbol})
    orders: list[dict[str, Any]] = daemon.get(f"/api/v1/orders?{urlencode(query)}")["orders"]
    return orders[::-1]


def _print_table(orders: list[dict[str, Any]]) -> None:
    """Print orders as a table."""
    columns = ("side", "qty", "symbol", "limit")
    table(
        ("time (New York)", "order", *columns, "state", "cut by", "agent"),
        [
            (
                local(order["ts"]), order["id"], *(order[name] for name in columns), _progress(order), order["reason"],
                order["agent"].replace("+", ", "),
            )
            for order in orders
        ],
        ("qty", "limit"),
    )  # fmt: skip


def _progress(order: dict[str, Any]) -> str:
    """The state of an order, with the filled quantity if the order is partly filled."""
    partly = order["state"] != "filled" and order["filled"] not in ("", "0")
    return f"{order['state']} {order['filled']}" if partly else order["state"]


COMMAND: Final = Command("Look", 20, orders)

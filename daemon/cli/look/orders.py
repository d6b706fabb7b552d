"""List the newest orders with their present state."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Last, OfShadow, Run, State
from quantd.daemon.cli.output import print_json, say, table
from quantd.daemon.cli.places import place
from quantd.trading.display_text import local

if TYPE_CHECKING:
    from quantd.daemon.views.rows import OrderLine


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
    from quantd.daemon.recovery.replay import slices_of
    from quantd.daemon.views.addresses import refused_lines
    from quantd.daemon.views.rows import order_line
    from quantd.daemon.views.shortfall import of_orders

    where = place(config, state)
    reader = where.reader(run, shadow)
    if refused:
        found = refused_lines(reader, last=last, symbol=symbol)
        if as_json:
            print_json({"run": reader.run.run, "refused": found})
            return
        table(
            ("time (New York)", "address", "who", "side", "requested", "passed", "symbol", "cut by"),
            [(local(r.ts), r.address, r.who, r.side, r.asked, r.allowed, r.symbol, r.reason) for r in found],
            ("requested", "passed"),
        )
        say(f"quantd why {found[-1].address} explains it" if found else "nothing was cut or refused")
        return
    orders = reader.orders(last=last, symbol=symbol)
    if as_json:
        costs = of_orders(reader, orders, slices_of(where.records(), reader.run.run, where.folder))
        print_json({"run": reader.run.run, "orders": [order_line(row, costs.get(row.id)) for row in orders]})
        return
    rows = [order_line(row) for row in orders]
    table(
        ("time (New York)", "order", "side", "qty", "symbol", "limit", "state", "cut by", "agent"),
        [
            (local(r.ts), r.id, r.side, r.qty, r.symbol, r.limit, _state(r), r.reason, r.agent.replace("+", ", "))
            for r in rows
        ],
        ("qty", "limit"),
    )


def _state(row: "OrderLine") -> str:
    return f"{row.state} {row.filled}" if row.state != "filled" and row.filled not in ("", "0") else row.state


COMMAND: Final = Command("Look", 20, orders)

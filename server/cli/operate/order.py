"""Submit a manual order through the gate. Needs --reason; exit code 1 when nothing passes."""

from typing import Annotated, Final, Literal

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import Ordered
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def order(
    side: Annotated[Literal["buy", "sell"], typer.Argument(metavar="buy|sell")],
    qty: Annotated[str, typer.Argument(metavar="QTY", help="Units: 10, 0.25.")],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Annotated[
        str, typer.Option("--agent", "-a", metavar="NAME", help=r"Book; `manual` (the table \[manual]) without it.")
    ] = "",
    stop: Annotated[str, typer.Option(metavar="PRICE", help="Close the position at this price or a worse one.")] = "",
    target: Annotated[
        str, typer.Option(metavar="PRICE", help="Close the position at this price or a better one.")
    ] = "",
    as_json: Json = False,
) -> int:
    body = {"side": side, "qty": qty, "symbol": symbol, "reason": reason, "agent": agent}
    body |= {name: price for name, price in (("stop", stop), ("target", target)) if price}
    done = posted(place(config, state, sets), "/api/v1/orders", body, Ordered)
    if as_json:
        print_json(done)
    elif done.order:
        cut = f", cut from {done.asked} by {done.cut_by}: {done.text} ({done.reason})" if done.reason else ""
        say(f"{done.side} {done.allowed} {done.symbol} at {done.limit} or better, book {done.agent}: {done.order}{cut}")
        levels = [f"{name} {price}" for name, price in (("stop", done.stop), ("target", done.target)) if price]
        if levels:
            say(f"the position has {' and '.join(levels)}")
    elif done.waits:
        say(f"{done.side} {done.asked} {done.symbol} is sent when the stop at the venue that covers it is cancelled")
    else:
        say(f"refused by {done.cut_by}: {done.side} {done.asked} {done.symbol}: {done.text} ({done.reason})")
    return DONE if done.order or done.waits else CHECK_FAILED


COMMAND: Final = Command("Operate", 50, order)

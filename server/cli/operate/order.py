"""Submit a manual order through the gate. Needs --reason; exit code 1 when nothing passes."""

from typing import Annotated, Final, Literal

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions
from quantd.daemon.cli.output import print_json, say
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import ENDED_TEXT, Ordered
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def order(
    side: Annotated[Literal["buy", "sell"], typer.Argument(metavar="buy|sell")],
    qty: Annotated[str, typer.Argument(metavar="QTY", help="Units: 10, 0.25.")],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL")],
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    agent: Annotated[
        str, typer.Option("--agent", "-a", metavar="NAME", help=r"Book; `manual` (the table \[manual]) without it.")
    ] = "",
    stop: Annotated[str, typer.Option(metavar="PRICE", help="Close the position at this price or a worse one.")] = "",
    target: Annotated[
        str, typer.Option(metavar="PRICE", help="Close the position at this price or a better one.")
    ] = "",
    limit: Annotated[
        str, typer.Option(metavar="PRICE", help="Fill at this price or a better one; at the collar without it.")
    ] = "",
    until: Annotated[
        str, typer.Option(metavar="day|cancelled|TIME", help="When the order expires; as the others without it.")
    ] = "",
    trigger: Annotated[
        str, typer.Option(metavar="PRICE", help="A stop order: wait until a bar closes at this price or beyond it.")
    ] = "",
    as_json: Json = False,
) -> int:
    body = {"side": side, "qty": qty, "symbol": symbol, "reason": reason, "agent": agent}
    terms = {"stop": stop, "target": target, "limit": limit, "until": until, "trigger": trigger}
    body |= {name: text for name, text in terms.items() if text}
    result = posted(chosen.place(), "/api/v1/orders", body, Ordered)
    if as_json:
        print_json(result)
    elif result.waits and result.order:
        say(f"{result.side} {result.asked} {result.symbol}, book {result.agent}: {result.order}, {result.text}")
    elif result.order:
        cut_text = (
            f", cut from {result.asked} by {result.cut_by}: {result.text} ({result.reason})"
            if result.reason
            else f"; {ENDED_TEXT}"
            if ENDED_TEXT in result.text
            else ""
        )
        say(
            f"{result.side} {result.allowed} {result.symbol} at {result.limit} or better, "
            f"book {result.agent}: {result.order}{cut_text}"
        )
        exits = [f"{name} {price}" for name, price in (("stop", result.stop), ("target", result.target)) if price]
        if exits:
            say(f"the position has {' and '.join(exits)}")
    elif result.waits:
        say(
            f"{result.side} {result.asked} {result.symbol} is sent when the stop at the venue that covers it is "
            "cancelled"
        )
    else:
        say(
            f"refused by {result.cut_by}: {result.side} {result.asked} {result.symbol}: {result.text} ({result.reason})"
        )
    return DONE if result.order or result.waits else CHECK_FAILED


COMMAND: Final = Command("Operate", 50, order)

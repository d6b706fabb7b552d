"""Settle an order that the venue does not confirm: filled, or never sent. Needs --reason."""

from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Order, Reason, RunOptions
from quantd.daemon.cli.output import answer
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import SettledOrder


def settle(
    order: Order,
    chosen: RunOptions = DEFAULTS,
    filled: Annotated[
        str,
        typer.Option(
            "--filled",
            metavar="QUANTITY@PRICE",
            help="What it has filled at the venue, at the price of what is missing.",
        ),
    ] = "",
    never_sent: Annotated[bool, typer.Option("--never-sent", help="The venue never had it.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    body = {"order": order, "filled": filled, "never_sent": never_sent, "reason": reason}
    settlement = posted(chosen.place(), "/api/v1/orders/settle", body, SettledOrder)
    order_text = f"{settlement.side} {settlement.qty} {settlement.symbol}"
    outcome = f"filled {settlement.filled} at {settlement.price}" if settlement.price else "never sent"
    answer(
        as_json,
        settlement,
        f"settled as {outcome}: {order_text}",
        "a later report of the venue about this order replaces the settlement",
    )


COMMAND: Final = Command("Operate", 53, settle)

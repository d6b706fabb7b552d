"""Cancel one open order; what it has filled stays. Needs --reason."""

from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Order, Reason, RunOptions
from quantd.daemon.cli.output import answer
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import CancelledOrder


def cancel(
    order: Order,
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be cancelled; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    where, path = chosen.place(), "/api/v1/orders/cancel"
    if dry_run:
        cancelled = posted(where, f"{path}/preview", {"order": order}, CancelledOrder)
    else:
        cancelled = posted(where, path, {"order": order, "reason": reason}, CancelledOrder)
    what = f"{cancelled.side} {cancelled.left} of {cancelled.qty} {cancelled.symbol} ({cancelled.filled} filled)"
    line = f"would cancel {what}" if dry_run else f"{cancelled.state}: {what}"
    answer(as_json, cancelled, line, cancelled.text)


COMMAND: Final = Command("Operate", 51, cancel)

"""Cancel one open order; what it has filled stays. Needs --reason."""

from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import CancelledOrder


def cancel(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Its id, as `quantd orders` has it.")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be cancelled; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    where, path = place(config, state, sets), "/api/v1/orders/cancel"
    if dry_run:
        done = posted(where, f"{path}/preview", {"order": order}, CancelledOrder)
    else:
        done = posted(where, path, {"order": order, "reason": reason}, CancelledOrder)
    if as_json:
        print_json(done)
        return
    what = f"{done.side} {done.left} of {done.qty} {done.symbol} ({done.filled} filled)"
    say(f"would cancel {what}" if dry_run else f"{done.state}: {what}")
    say(done.text)


COMMAND: Final = Command("Operate", 51, cancel)

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
        answer = posted(where, f"{path}/preview", {"order": order}, CancelledOrder)
    else:
        answer = posted(where, path, {"order": order, "reason": reason}, CancelledOrder)
    if as_json:
        print_json(answer)
        return
    what = f"{answer.side} {answer.left} of {answer.qty} {answer.symbol} ({answer.filled} filled)"
    say(f"would cancel {what}" if dry_run else f"{answer.state}: {what}")
    say(answer.text)


COMMAND: Final = Command("Operate", 51, cancel)

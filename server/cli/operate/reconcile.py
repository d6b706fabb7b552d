"""Compare the account with the venue's. Exit code 1 when they differ, unless --fence or --adopt settles it."""

from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions
from quantd.daemon.cli.output import answer
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import Compared
from quantd.trading.exit_codes import CHECK_FAILED, DONE

COMPARED_S: Final = 40.0
"""Longest time in seconds until the daemon has answered: it reads a difference several times."""


def reconcile(
    chosen: RunOptions = DEFAULTS,
    fence: Annotated[bool, typer.Option("--fence", help="Leave unknown holdings at the venue untraded.")] = False,
    adopt: Annotated[str, typer.Option("--adopt", metavar="AGENT", help="Add them to this agent's book.")] = "",
    reason: Reason = "",
    as_json: Json = False,
) -> int:
    if fence and adopt:
        raise typer.BadParameter("both --fence and --adopt were used; write one of them")
    body = {"how": "fence" if fence else adopt, "reason": reason}
    comparison = posted(chosen.place(), "/api/v1/reconcile", body, Compared, COMPARED_S)
    notes = [f"the account may not trade: {comparison.account}"] if comparison.account else []
    if comparison.waits:
        waiting = f"{', '.join(comparison.waits)} without an answer of the venue"
        notes.append(f"not compared: lots and cash that {waiting} may have moved; `quantd settle` ends that")
    if comparison.agrees:
        answer(as_json, comparison, "the venue's account agrees with ours", *notes)
        return DONE
    result_of_how = {"": "nothing was settled (--fence, or --adopt AGENT)", "fence": "fenced off"}
    result = result_of_how.get(comparison.how, f"added to the book of {comparison.how}")
    lines = [f"the venue has {'; '.join(comparison.differences)}: {result}"]
    if comparison.switch:
        from quantd.daemon.views.overview import SWITCH  # it imports the engine

        lines.append(f"the switch is {SWITCH[comparison.switch]}; `quantd resume --reason ..` re-arms it")
    answer(as_json, comparison, *lines, *notes)
    return DONE if comparison.how else CHECK_FAILED


COMMAND: Final = Command("Operate", 60, reconcile)

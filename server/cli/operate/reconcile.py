"""Compare the account with the venue's. Exit code 1 when they differ, unless --fence or --adopt settles it."""

from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.output import answer
from quantd.daemon.cli.places import place
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import Compared
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def reconcile(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    fence: Annotated[bool, typer.Option("--fence", help="Leave unknown holdings at the venue untraded.")] = False,
    adopt: Annotated[str, typer.Option("--adopt", metavar="AGENT", help="Add them to this agent's book.")] = "",
    reason: Reason = "",
    as_json: Json = False,
) -> int:
    if fence and adopt:
        raise typer.BadParameter("--fence and --adopt exclude each other")
    body = {"how": "fence" if fence else adopt, "reason": reason}
    done = posted(place(config, state, sets), "/api/v1/reconcile", body, Compared)
    notes = [f"the account may not trade: {done.account}"] if done.account else []
    if done.waits:
        waiting = f"{', '.join(done.waits)} without an answer of the venue"
        notes.append(f"not compared: lots and cash that {waiting} may have moved; `quantd settle` ends that")
    if done.agrees:
        answer(as_json, done, "the venue's account agrees with ours", *notes)
        return DONE
    settled = {"": "nothing was settled (--fence, or --adopt AGENT)", "fence": "fenced off"}
    result = settled.get(done.how, f"added to the book of {done.how}")
    lines = [f"the venue has {'; '.join(done.differences)}: {result}"]
    if done.switch:
        from quantd.daemon.views.overview import SWITCH  # it imports the engine

        lines.append(f"the switch is {SWITCH[done.switch]}; `quantd resume --reason ..` re-arms it")
    answer(as_json, done, *lines, *notes)
    return DONE if done.how else CHECK_FAILED


COMMAND: Final = Command("Operate", 60, reconcile)

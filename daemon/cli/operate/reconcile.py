"""Compare the account with the venue's. Exit code 1 when they differ, unless --fence or --adopt settles it."""

from typing import Annotated, Final

import msgspec
import typer

from quantd.daemon.cli.client import reach
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.daemon.commands.manual import Compared
from quantd.daemon.views.overview import SWITCH
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def reconcile(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    fence: Annotated[
        bool, typer.Option("--fence", help="Leave alone what the venue has and we do not know of.")
    ] = False,
    adopt: Annotated[str, typer.Option("--adopt", metavar="AGENT", help="Take it into this agent's book.")] = "",
    reason: Reason = "",
    as_json: Json = False,
) -> int:
    if fence and adopt:
        raise typer.BadParameter("--fence and --adopt exclude each other")
    how = "fence" if fence else adopt
    body = {"how": how, "reason": reason}
    done = msgspec.convert(reach(place(config, state, sets)).post("/api/v1/reconcile", body), Compared)
    if as_json:
        print_json(done)
    elif done.agrees:
        say("the venue's account is ours")
    else:
        became = {"": "nothing was settled (--fence, or --adopt AGENT)", "fence": "fenced off"}
        say(
            f"the venue has {'; '.join(done.differences)}: {became.get(done.how, f'taken into the book of {done.how}')}"
        )
        if done.switch:
            say(f"the switch is {SWITCH[done.switch]}; `quantd resume --reason ..` re-arms it")
    return DONE if done.agrees or done.how else CHECK_FAILED


COMMAND: Final = Command("Operate", 60, reconcile)

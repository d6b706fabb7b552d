"""List the proposals of outside agents that wait for a person, show one, approve or decline it."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, say, table
from quantd.daemon.cli.places import place
from quantd.server.cli.client import reach
from quantd.server.cli.operate.portfolio import print_answer
from quantd.trading.exit_codes import CHECK_FAILED, USAGE


def review(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose proposal; all that wait without it.")] = "",
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    approve: Annotated[bool, typer.Option("--approve", help="Send its orders.")] = False,
    decline: Annotated[bool, typer.Option("--decline", help="Drop it.")] = False,
    id: Annotated[str, typer.Option("--id", metavar="ID", help="Only the proposal with this id.")] = "",
    plan: Annotated[str, typer.Option(metavar="PLAN", help="Approve only what became of it when it was shown.")] = "",
    as_json: Json = False,
) -> None:
    if approve and decline:
        raise Failure("both --approve and --decline were used; write one of them", USAGE)
    if (approve or decline) and not agent:
        raise Failure("--approve and --decline need the agent of the proposal: quantd review AGENT --approve", USAGE)
    daemon = reach(place(config, state, sets))
    waiting = [row for row in daemon.get("/api/v1/reviews")["waiting"] if agent in ("", row["agent"])]
    if not agent:
        _print_waiting(waiting, as_json)
        return
    proposal = next((row for row in waiting if id in ("", row["id"])), None)
    if proposal is None:
        raise Failure(
            f"no proposal {f'{id} ' if id else ''}of {agent} waits for a person; `quantd review` lists them",
            CHECK_FAILED,
        )
    if not id and len(waiting) > 1 and (approve or decline):
        ids = ", ".join(row["id"] for row in waiting)
        raise Failure(f"{len(waiting)} proposals of {agent} wait, {ids}: name one with --id", USAGE)
    path = f"/api/v1/agents/{quote(agent, safe='')}/review"
    # without a decision the proposal is only shown
    if approve or decline:
        answer = daemon.post(path, {"id": proposal["id"], "approve": approve, "reason": reason, "plan": plan})
    else:
        answer = daemon.post(f"{path}/preview", {"id": proposal["id"]})
    if not (approve or decline or as_json):
        say(f"{agent} proposes {proposal['id']} since {proposal['time']}: {proposal['reason']}")
    print_answer(answer, as_json)
    if not (approve or decline or as_json):
        say(
            f"quantd review {agent} --id {proposal['id']} --approve --plan {answer['plan']} --reason R "
            "sends these orders"
        )


def _print_waiting(waiting: list[dict[str, Any]], as_json: bool) -> None:
    """Print the proposals that wait."""
    if as_json:
        print_json({"waiting": waiting})
        return
    rows = [
        (
            w["time"],
            w["until"] or "the next sample",
            w["agent"],
            w["id"],
            str(len(w["weights"] or w["orders"])),
            w["reason"],
        )
        for w in waiting
    ]
    table(("waits since", "until", "agent", "id", "targets", "reason of the agent"), rows, ("targets",))
    say("quantd review AGENT shows its orders" if waiting else "no proposal waits for a person")


COMMAND: Final = Command("Operate", 52, review)

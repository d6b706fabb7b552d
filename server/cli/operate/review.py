"""List the proposals of outside agents that wait for a person, show one, approve or decline it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, records, say
from quantd.server.cli.operate.device import reached, signed_review
from quantd.server.cli.operate.mcp import Address, TokenFile
from quantd.server.cli.operate.portfolio import print_answer
from quantd.trading.exit_codes import CHECK_FAILED, USAGE


def review(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose proposal; all that wait without it.")] = "",
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    approve: Annotated[bool, typer.Option("--approve", help="Send its orders.")] = False,
    decline: Annotated[bool, typer.Option("--decline", help="Drop it.")] = False,
    id: Annotated[str, typer.Option("--id", metavar="ID", help="Only the proposal with this id.")] = "",
    plan: Annotated[str, typer.Option(metavar="PLAN", help="With --approve: the plan that was shown.")] = "",
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Sign with this key of a device.")] = None,
    url: Address = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    if approve and decline:
        raise Failure("both --approve and --decline were used; write one of them", USAGE)
    decided = approve or decline
    if decided and not agent:
        raise Failure("--approve and --decline need the agent of the proposal: quantd review AGENT --approve", USAGE)
    if approve and not plan:
        text = (
            f"--approve needs --plan PLAN, of the orders that you saw: quantd review {agent} shows them with their plan"
        )
        raise Failure(text, USAGE)
    if key is not None and not approve:
        raise Failure("--key signs an approval; write --approve --plan PLAN too", USAGE)
    unused("a look at proposals", {"--reason": not decided and reason, "--id": not agent and id})
    unused("a proposal that is not approved", {"--plan": not approve and plan})
    daemon = reached(url, token_file, chosen)
    reviews = daemon.get("/api/v1/reviews")
    waiting = [row for row in reviews["waiting"] if agent in ("", row["agent"])]
    if not agent:
        _print_waiting(waiting, as_json)
        return
    proposal = next((row for row in waiting if id in ("", row["id"])), None)
    if proposal is None:
        raise Failure(
            f"no proposal {f'{id} ' if id else ''}of {agent} waits for a person; `quantd review` lists them",
            CHECK_FAILED,
        )
    if not id and len(waiting) > 1 and decided:
        ids = ", ".join(row["id"] for row in waiting)
        raise Failure(f"{len(waiting)} proposals of {agent} wait, {ids}: name one with --id", USAGE)
    path = f"/api/v1/agents/{quote(agent, safe='')}/review"
    # without a decision the proposal is only shown
    if decided:
        body = {"id": proposal["id"], "approve": approve, "reason": reason, "plan": plan}
        if key is not None:
            body["signed"] = signed_review(key, agent, proposal, plan, reviews["now"])
        response = daemon.post(path, body)
    else:
        response = daemon.post(f"{path}/preview", {"id": proposal["id"]})
    if not (decided or as_json):
        say(f"{agent} proposes {proposal['id']} since {proposal['time']}: {proposal['reason']}")
    print_answer(response, as_json)
    if not (decided or as_json):
        device = " --key FILE" if proposal["approval"] == "device" else ""
        say(
            f"quantd review {agent} --id {proposal['id']} --approve --plan {response['plan']}{device} --reason R "
            "sends these orders"
        )


def _print_waiting(waiting: list[dict[str, Any]], as_json: bool) -> None:
    """Print the proposals that wait."""
    columns: dict[str, str | Callable[[dict[str, Any]], str]] = {
        "waits since": "time", "until": lambda row: row["until"] or "the next sample", "agent": "agent", "id": "id",
        "targets": lambda row: str(len(row["weights"] or row["orders"])), "reason of the agent": "reason",
    }  # fmt: skip
    last_line = "quantd review AGENT shows its orders" if waiting else "no proposal waits for a person"
    answer(as_json, {"waiting": waiting}, lambda: records(waiting, columns, ("targets",)), last_line)


COMMAND: Final = Command("Operate", 52, review)

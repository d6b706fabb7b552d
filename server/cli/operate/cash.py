"""Deposit into or withdraw from a simulated account. The high-water mark moves with the cash: no profit, no loss."""

from typing import Annotated, Final, Literal

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions
from quantd.daemon.cli.output import answer
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import Paid

Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="1000.00")]
Book = Annotated[str, typer.Option("--agent", "-a", metavar="NAME", help="Book; the unallocated one without it.")]

Beyond = Annotated[
    bool, typer.Option("--beyond-limits", help="Withdraw also where a limit of the house or of the book breaks.")
]


def cash(
    do: Annotated[Literal["add", "remove"], typer.Argument(metavar="add|remove")],
    amount: Amount,
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    agent: Book = "",
    beyond_limits: Beyond = False,
    as_json: Json = False,
) -> None:
    body = {"do": do, "amount": amount, "reason": reason, "agent": agent, "beyond_limits": beyond_limits}
    payment = posted(chosen.place(), "/api/v1/cash", body, Paid)
    verb = "withdrawal of" if payment.amount.startswith("-") else "deposit of"
    whose = f"book {payment.agent}" if payment.agent else "the unallocated book"
    text = f"{whose} has {payment.cash} in cash, the house has {payment.equity} of equity"
    answer(as_json, payment, f"{verb} {payment.amount.lstrip('-')}: {text}")


COMMAND: Final = Command("Operate", 70, cash)

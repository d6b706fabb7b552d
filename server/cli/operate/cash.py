"""Deposit into or withdraw from a simulated account."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.output import answer
from quantd.daemon.cli.places import place
from quantd.server.cli.client import posted
from quantd.server.requests.manual_answers import Paid

Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="1000.00")]
Book = Annotated[str, typer.Option("--agent", "-a", metavar="NAME", help="Book; the unallocated one without it.")]

Beyond = Annotated[
    bool, typer.Option("--beyond-limits", help="Withdraw also where a limit of the house or of the book breaks.")
]


def moving(do: Literal["add", "remove"], text: str) -> Callable[..., None]:
    """The function of the CLI command `add` or `remove`, with `text` as its help. The command ends once the payment is
    in the journal.
    """

    def action(
        amount: Amount,
        config: ConfigFile = CONFIG_FILE,
        state: State = None,
        sets: Sets = None,
        reason: Reason = "",
        agent: Book = "",
        beyond_limits: Beyond = False,
        as_json: Json = False,
    ) -> None:
        body = {"do": do, "amount": amount, "reason": reason, "agent": agent, "beyond_limits": beyond_limits}
        payment = posted(place(config, state, sets), "/api/v1/cash", body, Paid)
        verb = "withdrawal of" if payment.amount.startswith("-") else "deposit of"
        whose = f"book {payment.agent}" if payment.agent else "the unallocated book"
        cash = f"{whose} has {payment.cash} in cash, the house has {payment.equity} of equity"
        answer(as_json, payment, f"{verb} {payment.amount.lstrip('-')}: {cash}")

    action.__doc__ = text
    return action


COMMAND: Final = Command(
    "Operate",
    70,
    {
        "add": moving("add", "Deposit cash. The high-water mark moves with it: it is no profit."),
        "remove": moving("remove", "Withdraw cash that no open order may need. It is no loss."),
    },
)

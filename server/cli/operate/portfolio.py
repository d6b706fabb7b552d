"""Open, rebalance and close portfolios of a running daemon."""

import uuid
from math import isfinite, nan
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Reason, RunOptions
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, records, say
from quantd.server.cli.client import reach
from quantd.trading.exit_codes import USAGE

PATH: Final = "/api/v1/portfolios"

Name = Annotated[str, typer.Argument(metavar="NAME")]
Weights = Annotated[
    list[str] | None, typer.Option("--weight", "-w", metavar="SYMBOL=WEIGHT", help="Target weight; repeatable.")
]
Symbols = Annotated[str, typer.Option("--symbols", metavar="A,B", help="Symbols of a policy, or part of an agent's.")]
Policy = Annotated[str, typer.Option(metavar="POLICY", help="A policy that computes the weights of the symbols.")]
AgentName = Annotated[str, typer.Option("--agent", "-a", metavar="NAME", help="Take the weights of this agent.")]


def list_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One portfolio, with its positions.")] = "",
    chosen: RunOptions = DEFAULTS,
    as_json: Json = False,
) -> None:
    """List the open portfolios, or show one."""
    answer = reach(chosen.place()).get(_agent(name, "standing") if name else PATH)
    if as_json:
        print_json(answer)
    elif name and (line := answer["portfolio"]) is None:
        raise Failure(f"{name} is an outside agent and no portfolio; `quantd portfolio list` lists those", USAGE)
    elif name:
        orders = f", {answer['open_orders']} open orders" if answer["open_orders"] else ""
        say(f"{name} ({line['agent']}, {line['state']}): equity {answer['equity']}, cash {answer['cash']}{orders}")
        say(f"  opened {line['created']} with {line['capital']} by {line['who']}: {line['reason']}")
        say(f"  switch {answer['switch']}, return {answer['total']:+.2%}, weights by {line['basis'] or 'nobody yet'}")
        _print_positions(answer["positions"])
    else:
        say(f"run {answer['run']}: {len(answer['portfolios'])} of {answer['places']} places are in use")
        columns = ("name", "agent", "state", "created", "capital", "equity", "basis")
        records(answer["portfolios"], columns, ("capital", "equity"))


def create(
    name: Name,
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    weights: Weights = None,
    symbols: Symbols = "",
    policy: Policy = "",
    agent: AgentName = "",
    capital: Annotated[str, typer.Option(metavar="AMOUNT", help="From the unallocated book.")] = "1000000",
    as_json: Json = False,
) -> None:
    """Open a portfolio and buy its first weights."""
    body = {"name": name, "capital": capital, "reason": reason, **_targets(weights, symbols, policy, agent)}
    print_answer(reach(chosen.place()).post(PATH, body), as_json)


def rebalance(
    name: Name,
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    weights: Weights = None,
    symbols: Symbols = "",
    policy: Policy = "",
    agent: AgentName = "",
    as_planned: Annotated[
        str, typer.Option(metavar="PLAN", help="Trade only if the orders are those of a dry run.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the orders; send none.")] = False,
    as_json: Json = False,
) -> None:
    """Move a portfolio to new weights, or show the orders."""
    body = _targets(weights, symbols, policy, agent)
    if dry_run and as_planned:
        raise Failure("--dry-run sends nothing and --as-planned trades; write one of them", USAGE)
    if not dry_run:
        body |= {"id": uuid.uuid4().hex, "reason": reason, "plan": as_planned}
    answer = reach(chosen.place()).post(_agent(name, "preview" if dry_run else "propose"), body)
    print_answer(answer, as_json)
    if dry_run and not as_json:
        say(f"  to trade exactly this: the same command with --as-planned {answer['plan']} in place of --dry-run")


def close(
    name: Name,
    how: Annotated[Literal["flatten", "hand_over"], typer.Argument(metavar="flatten|hand_over")],
    chosen: RunOptions = DEFAULTS,
    reason: Reason = "",
    to: Annotated[str, typer.Option("--to", metavar="AGENT", help="The agent that takes lots and cash over.")] = "",
    as_json: Json = False,
) -> None:
    """Sell a portfolio, or hand it over to an agent."""
    body = {"how": how, "to": to, "reason": reason}
    answer = reach(chosen.place()).post(f"{PATH}/{name}/close", body)
    if as_json:
        print_json(answer)
        return
    say(f"{name} is {answer['state']}")
    _print_trades(answer["trades"])


def _targets(weights: list[str] | None, symbols: str, policy: str, agent: str) -> dict[str, object]:
    """The target fields of a request: "weights" (symbol -> fraction), "symbols", "policy" and "agent".

    A field whose option is empty is absent. `weights` are texts SYMBOL=WEIGHT. Raises Failure for a weight that is no
    number.
    """
    targets: dict[str, object] = {}
    weight_by_symbol: dict[str, float] = {}
    for assignment in weights or ():
        symbol, _, text = assignment.partition("=")
        try:
            weight = float(text)
        except ValueError:
            weight = nan
        if not isfinite(weight):
            text = f"--weight {assignment} is no weight of a symbol: write SYMBOL=WEIGHT, such as SPY=0.4 for 40 %"
            raise Failure(text, USAGE)
        if symbol in weight_by_symbol:
            raise Failure(f"--weight names {symbol} twice; write one weight for it", USAGE)
        weight_by_symbol[symbol] = weight
    names = [symbol.strip() for symbol in symbols.split(",") if symbol.strip()]
    for key, value in (("weights", weight_by_symbol), ("symbols", names), ("policy", policy), ("agent", agent)):
        if value:
            targets[key] = value
    return targets


def _agent(name: str, what: str) -> str:
    return f"/api/v1/agents/{quote(name, safe='')}/{what}"


def print_answer(answer: dict[str, Any], as_json: bool) -> None:
    """Print the answer to a proposal or to its preview: the verdict, the expected figures, positions and trades."""
    if as_json:
        print_json(answer)
        return
    verdict, expected = answer["verdict"], answer["expected"]
    basis = f" to weights by {answer['basis']}" if answer["basis"] else ""
    say(f"{answer['agent']} {'would be' if answer['preview'] else 'is'} moved{basis} at {verdict['time']}")
    say(f"{verdict['outcome']}: {verdict['text']}")
    if expected and expected["sharpe"] is not None:
        say(
            f"  over the last {expected['samples']} samples these weights returned {expected['expected_return']:+.1%} "
            f"a year at {expected['volatility']:.1%} volatility: Sharpe {expected['sharpe']:.2f}, risk score "
            f"{expected['risk_score']} of 7"
        )
    _print_positions(answer["allocations"])
    if answer["trades"] is not None:
        _print_trades(answer["trades"])
    if answer["decision"]:
        say(f"  decision {answer['decision']}: `quantd why`, `quantd why {answer['decision']}:SYMBOL`")


def _print_positions(positions: list[dict[str, Any]]) -> None:
    """Print the weight and the target weight of each symbol."""
    records(
        positions,
        {"symbol": "symbol", "weight": "weight:.2%",
         "target": lambda row: "" if row["target"] is None else f"{row['target']:.2%}", "qty": "qty:",
         "value": "value:"},
    )  # fmt: skip


def _print_trades(trades: dict[str, Any]) -> None:
    """Print orders, costs, trades between books, the number of cancelled orders, and the trades that limits reduced."""
    if trades["orders"]:
        records(
            trades["orders"],
            {"side": "side", "qty": "qty:", "symbol": "symbol", "price": "price:", "limit": "limit:",
             "value": "value:,.2f", "order": lambda order: order["order"] or order["style"]},
        )  # fmt: skip
        cost = trades["commission"] + trades["slippage"]
        say(f"  traded {trades['value']:,.2f}; cost about {cost:,.2f} (commission {trades['commission']:,.2f})")
    else:
        say("  waits for the cancellation of stops at the venue" if trades["waits"] else "  no order")
    for symbol, qty in trades["crossed"].items():
        say(f"  {qty} {symbol} cross with other agents' books")
    if trades["cancels"] and not trades["waits"]:
        say(f"  {trades['cancels']} open orders are cancelled; the rest of their symbols follows at the next close")
    for cut in trades["cuts"]:
        none_passes = "waits" if cut["reason"] == "sale" else "refused"
        allowed = none_passes if cut["allowed"] == "0" else f"cut to {cut['allowed']}"
        say(f"  {cut['by']}: {cut['side']} {cut['asked']} {cut['symbol']} {allowed}: {cut['text']} ({cut['reason']})")


COMMAND: Final = Command("Operate", 60, {"list": list_, "create": create, "rebalance": rebalance, "close": close})

"""Show the orders, costs and refusals if every agent decided now. Nothing is traded."""

import time
from typing import TYPE_CHECKING, Final

import msgspec

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.output import answer, records, say
from quantd.server.cli.client import document_of
from quantd.trading.display_text import figure, local

if TYPE_CHECKING:
    from quantd.daemon.views.preview import PlanNow


def plan(chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    from quantd.daemon.views.preview import PlanNow

    where = chosen.place()
    document = document_of(where, "/api/v1/plan", lambda: _plan_of_stopped_run(chosen))
    answer(as_json, document, lambda: _print_plan(msgspec.convert(document, PlanNow)))


def _plan_of_stopped_run(chosen: RunOptions) -> "PlanNow":
    """The plan of a run without a daemon: its last state is rebuilt here, and its policies are asked."""
    from quantd.daemon.cli.stopped_run import at_rest
    from quantd.daemon.engine.state.snapshot import freeze
    from quantd.daemon.policies.deadline import Deadline
    from quantd.daemon.views.preview import plan_now

    shell, run, assembly = at_rest(chosen)
    deadline = Deadline(assembly.policies, seated=shell.seats)
    try:
        return plan_now(
            shell.state.rules,
            freeze(shell.state),
            deadline,
            assembly.costs,
            run,
            first=assembly.first_sample(time.time_ns()),
        )
    finally:
        deadline.close()


def _print_plan(plan: "PlanNow") -> None:
    """Print a plan: answers of the agents, orders, costs, cuts and the limits before and after."""
    moment = f"at {local(plan.ts)} New York" if plan.ts else "before the first bar"
    say(f"{moment}, switch {plan.switch}: orders if every agent decided now; none is sent")
    if plan.note:
        say(f"  {plan.note}")
        return
    for decided in plan.answers:
        weights = ", ".join(f"{symbol} {weight:.1%}" for symbol, weight in decided.weights.items()) or "cash"
        decision = "holds its positions" if decided.held else f"targets {weights}"
        outcome = f"fails, and holds: {decided.failed}" if decided.failed else decision
        say(f"  {decided.agent:12} {outcome}{f' ({decided.note})' if decided.note else ''}")
        figures = decided.allocation
        if figures is not None and figures.expected_return is not None and figures.expected_risk is not None:
            probability = figures.probability_positive
            significance = "" if probability is None else f"; mean above 0 with probability {probability:.2f}"
            past = f"returned {figures.expected_return:+.1%} a year at {figures.expected_risk:.1%} volatility"
            say(f"  {'':12} over the last {figures.samples} samples these weights {past}{significance}")
    if plan.crossed:
        say("  crossed between agents: " + ", ".join(f"{qty} {symbol}" for symbol, qty in plan.crossed.items()))
    if plan.cancels:
        say(f"  {plan.cancels} open orders would be cancelled first")
    if not plan.orders:
        say("  no order")
    else:
        records(
            plan.orders,
            {"side": "side", "qty": "qty:", "symbol": "symbol", "price": "price:", "limit": "limit:",
             "value": "value:,.2f", "commission": "commission:,.2f", "slippage": "slippage:,.2f",
             "agents": lambda order: ", ".join(order.agents), "style": "style", "cut by": "reason"},
        )  # fmt: skip
        cost = plan.commission + plan.slippage
        share = f", {1e4 * cost / plan.value:.1f} bp" if plan.value > 0 else ""
        say(f"  traded {plan.value:,.2f}; cost about {cost:,.2f}{share} (commission {plan.commission:,.2f})")
    for cut in plan.refused:
        largest_alone = "" if cut.most is None else f"; alone {cut.most} would pass"
        verdict = "refused" if cut.allowed == "0" else f"cut to {cut.allowed}"
        say(f"  {cut.who}: {cut.side} {cut.asked} {cut.symbol} {verdict}: {cut.text} ({cut.reason}){largest_alone}")
    if plan.limits:
        records(
            plan.limits,
            {"limit (house)": "words", "now": lambda row: figure(row.before, row.unit),
             "after": lambda row: figure(row.after, row.unit), "bound": lambda row: figure(row.bound, row.unit),
             "headroom": lambda row: figure(row.headroom, row.unit), "in use": "use:.0%"},
            ("now", "after", "bound", "headroom"),
        )  # fmt: skip


COMMAND: Final = Command("Look", 60, plan)

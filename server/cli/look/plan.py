"""Show the orders, costs and refusals if every agent decided now. Nothing is traded."""

import time
from typing import TYPE_CHECKING, Final

import msgspec

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.output import print_json, say, table
from quantd.server.cli.client import document_of
from quantd.trading.display_text import local

if TYPE_CHECKING:
    from quantd.daemon.views.limit_rows import LimitRow
    from quantd.daemon.views.preview import PlanNow


def plan(chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    from quantd.daemon.views.preview import PlanNow

    where = chosen.place()
    document = document_of(where, "/api/v1/plan", lambda: _plan_of_stopped_run(chosen))
    if as_json:
        print_json(document)
        return
    _print_plan(msgspec.convert(document, PlanNow))


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
    for answer in plan.answers:
        weights = ", ".join(f"{symbol} {weight:.1%}" for symbol, weight in answer.weights.items()) or "cash"
        decision = "holds its positions" if answer.held else f"targets {weights}"
        outcome = f"fails, and holds: {answer.failed}" if answer.failed else decision
        say(f"  {answer.agent:12} {outcome}{f' ({answer.note})' if answer.note else ''}")
        figures = answer.allocation
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
        rows = [
            (order.side, order.qty, order.symbol, order.price, order.limit, f"{order.value:,.2f}",
             f"{order.commission:,.2f}", f"{order.slippage:,.2f}", ", ".join(order.agents), order.style, order.reason)
            for order in plan.orders
        ]  # fmt: skip
        numbers = ("qty", "price", "limit", "value", "commission", "slippage")
        table(("side", "qty", "symbol", *numbers[1:], "agents", "style", "cut by"), rows, numbers)
        cost = plan.commission + plan.slippage
        share = f", {1e4 * cost / plan.value:.1f} bp" if plan.value > 0 else ""
        say(f"  traded {plan.value:,.2f}; cost about {cost:,.2f}{share} (commission {plan.commission:,.2f})")
    for cut in plan.refused:
        largest_alone = "" if cut.most is None else f"; alone {cut.most} would pass"
        verdict = "refused" if cut.allowed == "0" else f"cut to {cut.allowed}"
        say(f"  {cut.who}: {cut.side} {cut.asked} {cut.symbol} {verdict}: {cut.text} ({cut.reason}){largest_alone}")
    if plan.limits:
        columns = ("limit (house)", "now", "after", "bound", "headroom", "in use")
        table(columns, [_limit_cells(row) for row in plan.limits], columns[1:])


def _limit_cells(row: "LimitRow") -> tuple[str, ...]:
    """The cells of one limit: name, value before and after the orders, bound, headroom, use."""
    from quantd.trading.display_text import figure

    use = "" if row.use is None else f"{row.use:.0%}"
    return (row.words, *(figure(x, row.unit) for x in (row.before, row.after, row.bound, row.headroom)), use)


COMMAND: Final = Command("Look", 60, plan)

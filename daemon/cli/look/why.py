"""Explain an order or a refusal: targets, the verdict of each limit, fills; without an order, list the decisions."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.adapters.store.store_errors import StoreMismatch
from quantd.daemon.cli.command import DEFAULTS, Command, Json, Last, OfShadow, Run, RunOptions, unused
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, print_json, progress, say
from quantd.trading.display_text import local
from quantd.trading.exit_codes import CHECK_FAILED, USAGE

if TYPE_CHECKING:
    from quantd.adapters.store.queries import Reader

LAST: Final = 5
"""Decisions that are listed without --last."""

SLOW_S = 1.0
"""Seconds until a note explains a slow replay."""


# Long because the signature is the options of the command.
def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ORDER|ADDRESS|SYMBOL[@SHADOW]",
            show_default=False,
            help="Id of an order (`quantd orders`), symbol of a decision (d4812:QQQ), or a symbol; with @NAME, or a "
            "shadow's name alone: of that shadow. Without it, the newest decisions are listed.",
        ),
    ] = "",
    chosen: RunOptions = DEFAULTS,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="With a symbol: its newest decision up to a day or instant, UTC."),
    ] = None,
    last: Last = LAST,
    shadow: OfShadow = "",
    run: Run = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Only recorded values: immediate, without headroom in the symbol.")
    ] = False,
    as_json: Json = False,
) -> None:
    where = chosen.place().unchanged()
    if not what:
        unused("the list of decisions", {"--at": at, "--recorded": recorded})
        _list_decisions(where.reader(run, shadow), last, as_json=as_json)
        return
    if shadow:
        raise Failure(f"--shadow is an option of the list; write {what}@{shadow}", USAGE)
    unused(what, {"--last": last != LAST})
    reader = where.reader(run)
    # imported after the store is found, because the engine takes seconds to import
    from quantd.daemon.recovery.replay import recorded_parts
    from quantd.daemon.views.addresses import find
    from quantd.daemon.views.explanation import explain
    from quantd.daemon.views.explanation_text import why_lines

    try:
        subject = find(reader, what, at)
    except StoreMismatch as why_not:
        raise Failure(str(why_not), CHECK_FAILED) from None
    records = where.records()
    parts = recorded_parts(records, reader.run.run, where.folder)
    judge = None  # computes the decision again, by a replay; without it only recorded values are shown
    with progress("replaying the journal up to that decision") as report_progress:
        if not recorded:
            from quantd.daemon.cli.stopped_run import tracked
            from quantd.daemon.recovery.state_at import Refolder

            began, hints = time.monotonic(), ["replaying the journal up to that decision; --recorded skips this"]

            def show(share: float) -> None:
                report_progress(share)
                if hints and time.monotonic() - began > SLOW_S and not sys.stderr.isatty():
                    note(hints.pop())

            judge = Refolder(
                records, reader.run.run, where.folder, chosen.read,
                parts=parts, watched=lambda market: tracked(market, show, subject.decision.plan.ts),
            )  # fmt: skip
        explanation = explain(subject, judge, parts.slices if parts is not None else None)
    answer(as_json, explanation, *why_lines(explanation))


def _list_decisions(reader: "Reader", last: int, *, as_json: bool) -> None:
    """Print the newest decisions: target weights of the agents, limits, resulting orders."""
    from quantd.daemon.views.rows import decision_line

    universe = reader.run.universe
    latest_decisions = reader.decisions(last=last)
    rows = [decision_line(d.plan, universe, d.agents, d.address) for d in latest_decisions]
    if as_json:
        print_json({"run": reader.run.run, "decisions": rows})
        return
    for decision, row in zip(latest_decisions, rows, strict=True):
        note = f"  follow-up {row.follow_up}" if row.follow_up else ""
        say(f"{local(row.ts)} New York  {row.address}{note}")
        for agent_row in row.agents:
            weights = ", ".join(f"{name} {weight:.1%}" for name, weight in agent_row.weights.items()) or "cash"
            scaled = f"  (scaled to {agent_row.scale:.3f} for cash at worst prices)" if agent_row.scale < 1 else ""
            whose = f" (policy of {agent_row.policy})" if agent_row.policy else ""
            say(f"  {agent_row.agent:12} targets {weights}{scaled}{whose}")
            for symbol, reason in agent_row.reasons.items():
                passed = f"{agent_row.allowed.get(symbol, '0')} of {agent_row.asked.get(symbol, '0')} {symbol}"
                say(f"  {'':12} its limits pass {passed} ({reason}): quantd why {decision.of(symbol)}")
        for symbol, qty in row.net.items():
            allowed = row.allowed.get(symbol, "0")
            cut_text = ""
            if allowed != qty:
                cut_text = f" of {qty}, cut by {row.reasons.get(symbol, '')}: quantd why {decision.of(symbol)}"
            say(f"  {'buy' if not qty.startswith('-') else 'sell':4} {allowed.lstrip('-')} {symbol}{cut_text}")
        if row.crossed:
            say("  crossed between agents: " + ", ".join(f"{qty} {symbol}" for symbol, qty in row.crossed.items()))


COMMAND: Final = Command("Look", 90, why)

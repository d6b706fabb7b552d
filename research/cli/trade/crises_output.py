"""The command `quantd study crises`: a run in named crises and the effect of each limit, as tables or JSON."""

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from quantd.daemon.cli.command import DEFAULTS, Family, From, Json, RunOptions, To, day
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, records, say
from quantd.research.cli.trade.shown_drives import drive_of
from quantd.trading.exit_codes import CHECK_FAILED, DONE

if TYPE_CHECKING:
    from quantd.research.studies.crises import Crises, Crisis, LimitEffect


def window(text: str) -> tuple[str, date, date]:
    """Parse a window, NAME=2015-08-01:2016-02-29, into (name, first day, last day). Raises typer.BadParameter."""
    name, equals, dates = text.partition("=")
    first, colon, last = dates.partition(":")
    if not (name.strip() and equals and colon):
        raise typer.BadParameter(f"{text!r} is not a window; write NAME=2015-08-01:2016-02-29")
    since, until = day(first), day(last)
    if since > until:
        raise typer.BadParameter(f"{text!r} ends before it begins; write the earlier date first")
    return name.strip(), since, until


def study_crises(
    chosen: RunOptions = DEFAULTS,
    start: From = None,
    end: To = None,
    windows: Annotated[
        list[str] | None,
        typer.Option("--window", metavar="NAME=DATE:DATE", help="A period of your own, both dates in it; repeatable."),
    ] = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    """Measure the run in named crises, beside its benchmarks, and without each of its limits, in money."""
    from quantd.daemon.assembly.parts import assemble
    from quantd.research.reports.report_figures import planned
    from quantd.research.runs.backtest import after_history, explain_pace
    from quantd.research.runs.benchmark_runs import benchmark_history
    from quantd.research.studies import crises

    periods = tuple(crises.Period(*window(text)) for text in windows or ())
    names = [period.name for period in (*crises.PERIODS, *periods)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise typer.BadParameter(f"--window {twice[0]}: the name of another period; give each its own name")
    configuration = chosen.read(start, end)
    folder = configuration.state_folder(chosen.state)
    assembly = after_history(
        lambda history: assemble(configuration, cache=folder / "cache", history=history),
        benchmark_history(configuration),
    )
    benchmarks = planned(configuration, assembly)
    # one run without each limit, the benchmarks, the run itself, and the run without any limit
    run_count = len(crises.limits_on(assembly.rules)) + len(benchmarks) + 2
    explain_pace(assembly, run_count, note)
    try:
        result = crises.study(assembly, benchmarks, drive_of, folder, periods, family)
    except ValueError as why:
        raise Failure(f"there is nothing to measure: {why}", CHECK_FAILED) from None
    answer(as_json, crises.document(result), lambda: _print(result))
    return CHECK_FAILED if result.failures else DONE


def _print(result: "Crises") -> None:
    """Print the failures, each crisis, what each limit did in the whole run, and the notes."""
    say(*result.failures, f"{result.run}, {result.first} to {result.last}; every row is measured after the day on "
        f"which the last account first traded: {result.first_fill or 'none'}")  # fmt: skip
    for crisis in result.crises:
        say("")
        _print_crisis(crisis)
    say("", "the whole run: what each limit did")
    _print_effects(result.limits)
    say("")
    _print_notes(result)


def _print_crisis(crisis: "Crisis") -> None:
    """Print the accounts in one period, then the limits that cut an order or changed the account in it."""
    since, until = crisis.period
    remarks = [text for text in (crisis.partial, "inside the training window" if crisis.in_sample else "") if text]
    say(f"{crisis.name}, {since} to {until}" + (f" ({'; '.join(remarks)})" if remarks else ""))
    if crisis.missing:
        say(f"  {crisis.missing}")
        return
    records(
        crisis.rows,
        {"  ": lambda row: f"  {row.policy}{' *' if row.trained else ''}{'  (failed)' if row.failed else ''}",
         "total": "total_return:+.2%", "gain": "gain:+,.2f", "drawdown": "max_drawdown:.2%",
         "low": lambda row: row.low or "no fall",
         "recovered": lambda row: row.recovered or ("never" if row.low else ""), "days": "recovery_days:,"},
    )  # fmt: skip
    # `same`: in this period the account moved as it does without the limit
    _print_effects(tuple(effect for effect in crisis.limits if not (effect.same and not effect.cuts)))
    not_binding = [effect.limit for effect in crisis.limits if effect.same and not effect.cuts]
    if not_binding:
        say(f"  not binding in this period: {', '.join(not_binding)}")


def _print_effects(limits: "tuple[LimitEffect, ...]") -> None:
    """Print a table of limits' effects: the run with a limit less the run without it. Prints nothing for no limits."""
    if not limits:
        return
    records(
        [replace(effect, gain=None, total_return=None, max_drawdown=None) if effect.failed else effect
         for effect in limits],
        {"  limit": lambda effect: f"  {effect.limit}", "of": lambda effect: ", ".join(effect.where), "cuts": "cuts:,",
         "money": "gain:+,.2f", "total": "total_return:+.2%", "drawdown": "max_drawdown:+.2%", "": "bound"},
    )  # fmt: skip


def _print_notes(result: "Crises") -> None:
    """Print what the columns mean, the benchmarks' limits, the number of known trials, and the notes of the study."""
    lines = [
        "total, gain, drawdown: from the last sample before the period, or from that day if it is later, to the end",
        "days: calendar days from the low to the first close as high as before the fall, in the period or later",
        "money, total, drawdown of a limit: the run with it less the run without it, each run from its first sample; "
        "the limit earned positive money, and a negative drawdown means that it made the drawdown smaller",
        f"limits that are always on, so that no run leaves them out: {', '.join(result.always)}",
        "benchmarks: " + ", ".join(f"{name} under {limits}" for name, limits in result.benchmark_limits.items()),
        result.known.text,
        *result.notes,
    ]  # fmt: skip
    if any(row.trained for crisis in result.crises for row in crisis.rows):
        lines.append("* inside the training window of the policy, so that its figures are no result")
    say(*(f"  {line}" for line in lines))

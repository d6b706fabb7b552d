"""`quantd study`: questions about a policy that a backtest does not answer."""

import csv
import secrets
from datetime import date
from pathlib import Path

from quantd.daemon.assembly.parts import Assembly, assemble, parts_of
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import cell, print_json, progress, say, table
from quantd.daemon.cli.places import place, recorded
from quantd.daemon.cli.trade import backtest
from quantd.daemon.cli.trade.backtest import drive
from quantd.daemon.policies.loading import PolicyError, fit, load
from quantd.daemon.recovery.replay import NotKept, saved_config
from quantd.daemon.runtime.loop import Log, Shell
from quantd.daemon.views.report.figures import DAY_NS, date_ns
from quantd.research import parity as beside_backtest
from quantd.research import rebalancing_study
from quantd.research.comparison import NAME, Drive
from quantd.research.lookahead import lines, lookahead
from quantd.research.standings import HEAD, said, standings
from quantd.research.standings import table as rows_of
from quantd.strategies.policies import POLICIES
from quantd.trading.codec import decode
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, USAGE
from quantd.trading.orders import base36
from quantd.trading.ports import Policy
from quantd.trading.statistics import OWN_CLOSES


def study_lookahead(
    config: Path, state: Path | None, sets: tuple[str, ...], policy: str, *, cuts: int, as_json: bool
) -> int:
    """Whether `policy` looks ahead; exit code 1 when it does, or when it cannot be said."""
    found = read(config, sets)
    folder = state if state is not None else found.at(found.quantd.state)
    name, colon, attribute = policy.partition(":")
    if name.endswith(".py"):
        policy = f"{Path(name).resolve()}{colon}{attribute}"  # typed here, not written in the configuration
    with progress("look-ahead", shown=not as_json) as bar:
        result = lookahead(found, policy, cuts=cuts, cache=folder / "cache", progress=bar)
    if as_json:
        print_json({"clean": result.clean, "result": result})
    else:
        for line in lines(result):
            say(line)
    return DONE if result.clean else CHECK_FAILED


def study_compare(
    config: Path, state: Path | None, sets: tuple[str, ...], names: tuple[str, ...], *, every: str, as_json: bool
) -> int:
    """Policies side by side, each alone in the run that the configuration describes."""
    found = read(config, sets)
    folder = state if state is not None else found.at(found.quantd.state)
    policies: dict[str, Policy] = {}
    for name in (*names, NAME) if names else POLICIES:
        try:
            policies[name] = load(name, {}, found.source.folder)
            fit(policies[name], found.instruments())
        except PolicyError as why:
            if names:
                raise Failure(str(why), USAGE) from None
            # it has no parameters of its own to stand with, as a fixed mix has no weights
    assembly = assemble(found, cache=folder / "cache")

    def drive(name: str) -> Drive:
        def run(other: Assembly, log: Log) -> Shell:
            with progress(name, shown=not as_json) as bar:
                return backtest.drive(other, other.config, base36(secrets.randbits(64), 8), log, None, bar)[0]

        return run

    try:
        result = standings(assembly, policies, folder, drive, every)
    except ValueError as why:
        raise Failure(f"there is nothing to compare: {why}", CHECK_FAILED) from None
    if as_json:
        print_json(result)
        return DONE
    table(HEAD, rows_of(result), HEAD[1:])
    for line in said(result):
        say(f"  {line}")
    return DONE


def study_parity(
    config: Path, state: Path | None, sets: tuple[str, ...], run: str | None, *, day: date | None, as_json: bool
) -> int:
    """A run beside a backtest over the same bars; exit code 1 when a decision differs."""
    where = place(config, state, sets)
    records, record = recorded(where, run)
    entries = [decode(data) for _, data in records.entries(record.run)]
    name = beside_backtest.configuration_of(entries)
    if not name:
        raise Failure(f"run {record.run} has no journal that begins with a start", CHECK_FAILED)
    try:
        found = saved_config(where.folder, name)
    except NotKept as why:
        raise Failure(str(why), CONFIG) from None
    with progress("backtest over the bars of the run", shown=not as_json):
        parts = parts_of(found, entries[0].event.ts, cache=where.folder / "cache")  # type: ignore[union-attr]
        since = date_ns(day) if day is not None else 0
        result = beside_backtest.parity(
            record.run,
            parts.universe,
            entries,
            beside_backtest.backtest_of(parts, entries),
            parts.interval_ns,
            since=since,
            until=since + DAY_NS if day is not None else 2**63 - 1,
        )
    if as_json:
        print_json(result)
    else:
        for line in beside_backtest.lines(result):
            say(line)
    return DONE if result.same else CHECK_FAILED


def study_rebalance(
    config: Path,
    state: Path | None,
    sets: tuple[str, ...],
    agent: str | None,
    *,
    costs: tuple[float, ...],
    out: Path | None,
    as_json: bool,
) -> int:
    """One agent's policy under each rule of rebalancing and each cost, as a table, and as CSV in `out`."""
    found = read(config, sets)
    folder = state if state is not None else found.at(found.quantd.state)
    name = found.agents[0].name if agent is None else agent
    total = len(rebalancing_study.RULES) * len(costs)
    done, definition, own_closes = 0, "", ""
    with progress("rebalancing", shown=not as_json) as bar:

        def beside(assembly: Assembly, log: Log) -> Shell:
            nonlocal done, definition, own_closes
            definition = assembly.sharpe_definition
            shell, _ = drive(
                assembly, assembly.config, "study", log, None, lambda share, note="": bar((done + share) / total, note)
            )
            done += 1
            own_closes = OWN_CLOSES if shell.state.valuations.closed else ""
            return shell

        try:
            rows = list(rebalancing_study.study(found, name, beside, costs=costs, cache=folder / "cache"))
        except ValueError as why:
            raise Failure(str(why), USAGE) from None
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(rebalancing_study.Row.__struct_fields__)
            writer.writerows([cell(getattr(row, field)) for field in row.__struct_fields__] for row in rows)
    if as_json:
        print_json({"agent": name, "rows": rows, "sharpe_definition": definition, "own_closes": own_closes})
        return DONE
    say(f"{name}, {found.feed.path}: every rule on the same bars and dates; each cost is charged once, as commission")
    columns = (
        "cost bp",
        "rule",
        "Sharpe",
        "return a year",
        "drawdown",
        "turnover a year",
        "orders sent",
        "costs a year",
    )
    table(
        columns,
        [
            (
                f"{row.cost_bp:g}",
                f"{row.rule}{'  *' if row.best else ''}",
                f"{row.sharpe:.3f}",
                f"{row.annual_return:.2%}",
                f"{row.max_drawdown:.2%}",
                f"{row.turnover_annual:.2f}",
                f"{row.rebalances}",
                f"{row.cost_drag_annual:.3%}",
            )
            for row in rows
        ],
        right=columns[:1] + columns[2:],
    )
    say(
        f"* the best Sharpe at its cost, of {len(rebalancing_study.RULES)} tried: differences this small are mostly chance"
    )
    say(definition)
    if own_closes:
        say(own_closes)
    return DONE

"""Answer questions about a policy or a factor that a backtest does not answer."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from quantd.adapters.calendars import sessions
from quantd.daemon.cli.command import (
    DEFAULTS,
    Command,
    Family,
    From,
    Json,
    RunOptions,
    To,
)
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, check_output, progress, records, say, write_csv, write_whole
from quantd.daemon.cli.places import recorded
from quantd.research.cli.trade import shared_options
from quantd.research.cli.trade.crises_output import study_crises
from quantd.research.cli.trade.power_output import study_power
from quantd.research.cli.trade.preset_output import print_ranking
from quantd.research.cli.trade.shown_drives import drive_of
from quantd.research.cli.trade.signal_output import study_signal
from quantd.trading.display_text import toml_value
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

if TYPE_CHECKING:
    from quantd.daemon.config import Config
    from quantd.research.studies import rebalancing_study
    from quantd.trading.ports import Policy


def study_lookahead(
    policy: Annotated[str, typer.Argument(metavar="FILE.py:act", help="A policy, as in config.toml.")],
    chosen: RunOptions = DEFAULTS,
    cuts: shared_options.Cuts = 40,
    as_json: Json = False,
) -> int:
    """Detect look-ahead: call a policy on markets that end earlier.

    Exit code 1 when a decision differs or fails, 2 when nothing is decided because the policy reads files of its own.
    """
    from quantd.research.studies.lookahead import lines, lookahead

    configuration = chosen.read()
    folder = configuration.state_folder(chosen.state)
    name, colon, attribute = policy.partition(":")
    if name.endswith(".py"):
        policy = f"{Path(name).resolve()}{colon}{attribute}"  # relative to this folder, not to the configuration
    with progress("look-ahead") as advance:
        result = lookahead(configuration, policy, cuts=cuts, cache=folder / "cache", progress=advance)
    document = {"clean": result.clean, "decided": result.decided, "result": result}
    answer(as_json, document, *lines(result))
    # None, where nothing was found but the policy reads files of its own, is not False
    if result.clean is False or result.failed:
        return CHECK_FAILED
    return DONE if result.decided else USAGE


def _loaded(configuration: "Config", names: Sequence[str]) -> "dict[str, Policy]":
    """Load the policies of these names and equal weight; without names, each registered policy that trades.

    Raises Failure for a named policy that cannot be loaded. A registered policy that cannot be loaded is left out.
    """
    from quantd.daemon.policies.loading import PolicyError, fit, load
    from quantd.research.runs.comparison import NAME
    from quantd.strategies.policies import PASSIVE, POLICIES

    loaded: dict[str, Policy] = {}
    for name in (*names, NAME) if names else (name for name in POLICIES if name not in PASSIVE):
        try:
            loaded[name] = load(name, {}, configuration.source.folder)  # {}: the default parameters
            fit(loaded[name], configuration.instruments())
        except PolicyError as why:
            if names:
                raise Failure(str(why), USAGE) from None
            # not named: left out; a fixed mix, for example, has no default weights
    return loaded


def study_compare(
    policies: Annotated[
        list[str] | None,
        typer.Argument(help="Registered names, artifact folders or files; without it each that computes weights."),
    ] = None,
    every: Annotated[Literal["day", "week", "month"], typer.Option(help="Interval of the decisions.")] = "month",
    chosen: RunOptions = DEFAULTS,
    family: Family = "",
    as_json: Json = False,
) -> int:
    """Compare policies: each alone over the recorded market, after costs, beside equal weight."""
    from quantd.daemon.assembly.first_session import longest_history
    from quantd.daemon.assembly.parts import assemble
    from quantd.research.runs.backtest import explain_pace
    from quantd.research.studies import standings

    names = tuple(policies or ())
    configuration = chosen.read()
    folder = configuration.state_folder(chosen.state)
    loaded = _loaded(configuration, names)
    history = longest_history(loaded.values(), configuration.instruments())
    assembly = assemble(configuration, cache=folder / "cache", history=history)
    explain_pace(assembly, len(loaded), note)
    try:
        result = standings.standings(assembly, loaded, folder, drive_of, every, family)
    except ValueError as why:
        raise Failure(f"there is nothing to compare: {why}", CHECK_FAILED) from None
    answer(
        as_json, result, *standings.first_lines(result),
        lambda: print_ranking(result),
        *(f"  {line}" for line in standings.footnotes(result)),
    )  # fmt: skip
    return CHECK_FAILED if standings.failure_lines(result) else DONE


def _write_rebalancing(out: Path, agent: str, result: "rebalancing_study.Rebalancing", definition: str) -> None:
    """Write the rows as CSV, or as a page where the suffix is .html."""
    if out.suffix.lower() == ".html":
        from quantd.research.studies.rebalancing_study import page

        write_whole(out, page(agent, result, definition).encode())
        return
    columns = result.rows[0].__struct_fields__
    write_csv(out, columns, ([getattr(row, field) for field in columns] for row in result.rows))


def study_rebalance(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="The first one without it.")] = None,
    chosen: RunOptions = DEFAULTS,
    start: From = None,
    end: To = None,
    costs: Annotated[
        list[float] | None,
        typer.Option(
            "--cost", min=0, max=1_000, metavar="BP", help="Cost in bp, repeatable; 1, 5, 10 and 20 without it."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="F", help="Also write F.csv, or a page F.html.")] = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    """Compare rebalancing rules of one agent, daily to half-yearly, by drift, events and cost, at each cost."""

    if out is not None:
        check_output(out, ".csv", ".html")
    configuration = chosen.read(start, end)
    folder = configuration.state_folder(chosen.state)
    name = configuration.agents[0].name if agent is None else agent
    costs_bp = tuple(costs or (1.0, 5.0, 10.0, 20.0))
    result, sharpe_definition, last_prices = _rebalanced(configuration, name, folder, costs_bp, family)
    if out is not None:
        _write_rebalancing(out, name, result, sharpe_definition)
    document = {
        "agent": name, "rows": result.rows, "sharpe_definition": sharpe_definition, "last_prices": last_prices,
        **result.known.document, "failures": result.failures,
    }  # fmt: skip
    text = f"{name}, {configuration.feed.path}: every rule on the same bars and dates; costs are charged as commission"
    answer(
        as_json, document, *result.failures, text, lambda: _print_rebalancing(result.rows), result.known.text,
        sharpe_definition, *([last_prices] if last_prices else []),
    )  # fmt: skip
    return CHECK_FAILED if result.failures else DONE


def _rebalanced(
    configuration: "Config", agent: str, folder: Path, costs_bp: tuple[float, ...], family: str
) -> "tuple[rebalancing_study.Rebalancing, str, str]":
    """Run every rebalancing rule of `agent` at every cost. Returns (study, definition of Sharpe ratio, the note
    LAST_PRICES). The note is empty where all instruments have one calendar. Raises Failure where the study refuses
    the agent or its configuration."""
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.research.runs.backtest import drive, explain_pace
    from quantd.research.studies import rebalancing_study
    from quantd.trading.instruments import last_prices_note

    total = len(rebalancing_study.RULES) * len(costs_bp)
    done_runs, sharpe_definition, last_prices = 0, "", ""
    with progress("rebalancing") as advance:

        def run_rule(assembly: Assembly, log: Log) -> Shell:
            nonlocal done_runs, sharpe_definition, last_prices
            sharpe_definition = assembly.sharpe_definition
            if not done_runs:
                explain_pace(assembly, total, note)
            shell, _ = drive(
                assembly, assembly.config, "study", log, None, lambda share: advance((done_runs + share) / total)
            )
            done_runs += 1
            last_prices = last_prices_note(assembly.universe)
            return shell

        try:
            result = rebalancing_study.study(configuration, agent, run_rule, folder, costs=costs_bp, family=family)
        except ValueError as why:
            raise Failure(str(why), USAGE) from None
    return result, sharpe_definition, last_prices


def _print_rebalancing(rows: "Sequence[rebalancing_study.Row]") -> None:
    """Print a row for each cost and rule; a mark is at the best rule of each cost."""
    from quantd.research.studies.rebalancing_study import RULES

    def rule(row: "rebalancing_study.Row") -> str:
        return f"{row.rule}{'  (failed)' if row.failed else '  *' if row.best else ''}"

    records(
        rows,
        {"cost bp": "cost_bp:g", "rule": rule, "Sharpe": "sharpe:.3f",
         "return a year": "annual_return:.2%", "drawdown": "max_drawdown:.2%", "turnover a year": "turnover_annual:.2f",
         "orders": "orders:d", "rebalances": "rebalances:d", "costs a year": "cost_drag_annual:.3%"},
    )  # fmt: skip
    say(f"* the best Sharpe at its cost, of {len(RULES)} rules: differences this small are mostly chance")


def study_costs(
    run: shared_options.RunName = None,
    chosen: RunOptions = DEFAULTS,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.json", help=r"A file for \[broker] costs.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Fit spread, slippage and impact to the fills of a run, by symbol and hour, with the error of the fit."""
    from quantd.daemon.recovery.replay import slices_of
    from quantd.research.studies import cost_fit
    from quantd.trading.execution import FittedCost

    if out is not None:
        check_output(out, ".json")
    home = chosen.place()
    records, record = recorded(home, run)
    configuration = chosen.read()
    slices = slices_of(records, record.run, home.folder)
    instruments = record.universe.instruments
    # only the time zone of a calendar is used, which is the same for any dates
    any_year, cache = (date(2020, 1, 1), date(2020, 12, 31)), home.folder / "cache"
    zones = {
        name: sessions(name, *any_year, cache=cache).zone
        for name in {instrument.calendar for instrument in instruments}
    }
    fills = cost_fit.observations(
        record.universe,
        (data for _, data in records.entries(record.run)),
        slices,
        [zones[instrument.calendar] for instrument in instruments],
    )
    broker = configuration.broker
    # "" and None: the configured costs are of all symbols at all hours
    configured_cost = FittedCost("", None, broker.spread_bp / 2.0 + broker.slippage_bp, broker.impact)
    result = cost_fit.fit_costs(record.run, record.universe, fills, configured_cost)
    if out is not None:
        write_whole(out, cost_fit.encoded(result))
    config_lines = [f"  {out}: write [broker] costs = {toml_value(str(out))}"] if out is not None else []
    answer(as_json, result, *cost_fit.lines(result), *config_lines)
    return DONE


COMMAND: Final = Command(
    "Trade",
    40,
    {
        "lookahead": study_lookahead,
        "signal": study_signal,
        "compare": study_compare,
        "rebalance": study_rebalance,
        "crises": study_crises,
        "power": study_power,
        "costs": study_costs,
    },
)

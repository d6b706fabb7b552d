"""Answer questions about a policy or a factor that a backtest does not answer."""

import csv
import secrets
from collections.abc import Sequence
from datetime import date
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer
from msgspec import to_builtins
from msgspec.structs import replace

from quantd.adapters.calendars import sessions
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Family, From, Json, Sets, State, To, day
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, check_folder, print_json, progress, say, table, write_whole
from quantd.daemon.cli.places import place, recorded
from quantd.research.cli.trade import shared_options
from quantd.research.cli.trade.crises_output import study_crises
from quantd.research.cli.trade.power_output import study_power
from quantd.research.cli.trade.signal_output import study_signal
from quantd.trading.display_text import csv_cell, toml_value
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, USAGE

if TYPE_CHECKING:
    from quantd.daemon.config import Config
    from quantd.research.runs.trials import Known, Look, Reason
    from quantd.research.studies import rebalancing_study
    from quantd.trading.ports import Policy


def study_lookahead(
    policy: Annotated[str, typer.Argument(metavar="FILE.py:act", help="A policy, as in config.toml.")],
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    cuts: shared_options.Cuts = 40,
    as_json: Json = False,
) -> int:
    """Detect look-ahead: call a policy on markets that end earlier.

    Exit code 1 when a decision differs or fails, 2 when nothing is decided because the policy reads files of its own.
    """
    from quantd.daemon.cli.configuration import read
    from quantd.research.studies.lookahead import lines, lookahead

    configuration = read(config, sets)
    folder = configuration.state_folder(state)
    name, colon, attribute = policy.partition(":")
    if name.endswith(".py"):
        policy = f"{Path(name).resolve()}{colon}{attribute}"  # relative to this folder, not to the configuration
    with progress("look-ahead", shown=not as_json) as advance:
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
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    """Compare policies: each alone over the recorded market, after costs, beside equal weight."""
    from quantd.daemon.assembly.first_session import longest_history
    from quantd.daemon.assembly.parts import Assembly, assemble
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.research.runs.backtest import drive, explain_pace
    from quantd.research.runs.comparison import Drive
    from quantd.research.studies import standings
    from quantd.trading.orders import base36

    names = tuple(policies or ())
    configuration = read(config, sets)
    folder = configuration.state_folder(state)
    loaded = _loaded(configuration, names)
    history = longest_history(loaded.values(), configuration.instruments())
    assembly = assemble(configuration, cache=folder / "cache", history=history)
    if not as_json:
        explain_pace(assembly, len(loaded), note)

    def drive_of(name: str) -> Drive:
        def run(single_policy: Assembly, log: Log) -> Shell:
            # the run gets a random name; None: no journal is stored
            with progress(name, shown=not as_json) as show:
                return drive(single_policy, single_policy.config, base36(secrets.randbits(64), 8), log, None, show)[0]

        return run

    try:
        result = standings.standings(assembly, loaded, folder, drive_of, every, family)
    except ValueError as why:
        raise Failure(f"there is nothing to compare: {why}", CHECK_FAILED) from None
    code = CHECK_FAILED if standings.failure_lines(result) else DONE
    if as_json:
        print_json(result)
        return code
    for line in standings.first_lines(result):
        say(line)
    table(standings.HEAD, standings.table(result), standings.HEAD[1:])
    say("\n".join(f"  {line}" for line in standings.footnotes(result)))
    return code


def study_parity(
    run: shared_options.RunName = None,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    day: Annotated[
        date | None, typer.Option("--day", parser=day, metavar="DATE", help="One day of the run (UTC).")
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare a run with a backtest over the same bars: decisions, prices, fills and costs, with the causes."""
    from quantd.daemon.assembly.parts import parts_of
    from quantd.daemon.recovery.replay import ConfigLost, saved_config
    from quantd.daemon.views.report.curves import DAY_NS, date_ns
    from quantd.research.studies import parity
    from quantd.trading.codec import decode

    home = place(config, state, sets)
    records, record = recorded(home, run)
    entries = [decode(data) for _, data in records.entries(record.run)]
    config_digest = parity.configuration_of(entries)
    if not config_digest:
        raise Failure(
            f"the journal of run {record.run} has no start, so its configuration is unknown; name another run",
            CHECK_FAILED,
        )
    try:
        # the saved copy of the run's own configuration: the present file may have changed since
        configuration = saved_config(home.folder, config_digest)
    except ConfigLost as why:
        raise Failure(str(why), CONFIG) from None
    with progress("backtest over the bars of the run", shown=not as_json):
        parts = parts_of(configuration, entries[0].event.ts, cache=home.folder / "cache")  # type: ignore[union-attr]
        # without --day every instant (ns) is compared, to the largest of 64 bits
        since = date_ns(day) if day is not None else 0
        result = parity.parity(
            record.run, parts.universe, entries, parity.backtest_of(parts, entries), parts.interval_ns,
            since=since, until=since + DAY_NS if day is not None else 2**63 - 1,
        )  # fmt: skip
    answer(as_json, result, *parity.lines(result))
    return DONE if result.same else CHECK_FAILED


def _write_rebalancing(out: Path, agent: str, rows: "Sequence[rebalancing_study.Row]", definition: str) -> None:
    """Write the rows as CSV, or their picture where the suffix is .html."""
    if out.suffix == ".html":
        from quantd.research.studies.rebalancing_page import page

        write_whole(out, page(agent, rows, definition).encode())
        return
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(rows[0].__struct_fields__)
    writer.writerows([csv_cell(getattr(row, field)) for field in row.__struct_fields__] for row in rows)
    write_whole(out, text.getvalue().encode())


def study_rebalance(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="The first one without it.")] = None,
    config: ConfigFile = CONFIG_FILE,
    start: From = None,
    end: To = None,
    state: State = None,
    sets: Sets = None,
    costs: Annotated[
        list[float] | None,
        typer.Option(
            "--cost", min=0, max=1_000, metavar="BP", help="Cost in bp, repeatable; 1, 5, 10 and 20 without it."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F", help="Also write F.csv, or a picture F.html.")
    ] = None,
    family: Family = "",
    as_json: Json = False,
) -> int:
    """Compare rebalancing rules of one agent, daily to half-yearly, by drift, events and cost, at each cost."""
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.config.overrides import between

    if out is not None:
        check_folder(out)
    configuration = read(config, between(sets, start, end))
    folder = configuration.state_folder(state)
    name = configuration.agents[0].name if agent is None else agent
    costs_bp = tuple(costs or (1.0, 5.0, 10.0, 20.0))
    result, sharpe_definition, own_closes = _rebalanced(
        configuration, name, folder, costs_bp, family, shown=not as_json
    )
    code = CHECK_FAILED if result.failures else DONE
    if out is not None:
        _write_rebalancing(out, name, result.rows, sharpe_definition)
    if as_json:
        print_json({
            "agent": name, "rows": result.rows, "sharpe_definition": sharpe_definition, "own_closes": own_closes,
            **result.known.document, "failures": result.failures,
        })  # fmt: skip
        return code
    for line in result.failures:
        say(line)
    say(f"{name}, {configuration.feed.path}: every rule on the same bars and dates; costs are charged as commission")
    _print_rebalancing(result.rows)
    say(result.known.text)
    say(sharpe_definition)
    if own_closes:
        say(own_closes)
    return code


def _rebalanced(
    configuration: "Config", agent: str, folder: Path, costs_bp: tuple[float, ...], family: str, *, shown: bool
) -> "tuple[rebalancing_study.Rebalancing, str, str]":
    """Run every rebalancing rule of `agent` at every cost. Returns (study, definition of Sharpe ratio, the note
    OWN_CLOSES). The note is empty where no instrument closes after the sample. Raises Failure where the study refuses
    the agent or its configuration."""
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.research.runs.backtest import drive, explain_pace
    from quantd.research.studies import rebalancing_study
    from quantd.trading.statistics import OWN_CLOSES

    total = len(rebalancing_study.RULES) * len(costs_bp)
    done_runs, sharpe_definition, own_closes = 0, "", ""
    with progress("rebalancing", shown=shown) as advance:

        def run_rule(assembly: Assembly, log: Log) -> Shell:
            nonlocal done_runs, sharpe_definition, own_closes
            sharpe_definition = assembly.sharpe_definition
            if not done_runs and shown:
                explain_pace(assembly, total, note)
            shell, _ = drive(
                assembly, assembly.config, "study", log, None, lambda share: advance((done_runs + share) / total)
            )
            done_runs += 1
            own_closes = OWN_CLOSES if shell.state.valuations.closed else ""
            return shell

        try:
            result = rebalancing_study.study(configuration, agent, run_rule, folder, costs=costs_bp, family=family)
        except ValueError as why:
            raise Failure(str(why), USAGE) from None
    return result, sharpe_definition, own_closes


def _print_rebalancing(rows: "Sequence[rebalancing_study.Row]") -> None:
    """Print a row for each cost and rule; `_mark` marks the best rule at each cost."""
    from quantd.research.studies.rebalancing_study import RULES

    columns = (
        "cost bp", "rule", "Sharpe", "return a year", "drawdown", "turnover a year", "orders", "rebalances",
        "costs a year",
    )  # fmt: skip
    table(
        columns,
        [
            (
                f"{row.cost_bp:g}", f"{row.rule}{_mark(row)}", f"{row.sharpe:.3f}",
                f"{row.annual_return:.2%}", f"{row.max_drawdown:.2%}", f"{row.turnover_annual:.2f}",
                f"{row.orders}", f"{row.rebalances}", f"{row.cost_drag_annual:.3%}",
            )
            for row in rows
        ],
        right=columns[:1] + columns[2:],
    )  # fmt: skip
    say(f"* the best Sharpe at its cost, of {len(RULES)} rules: differences this small are mostly chance")


def _mark(row: "rebalancing_study.Row") -> str:
    """Return the text after the name of a row's rule: whether its run failed, or is the best at its cost."""
    return "  (failed)" if row.failed else "  *" if row.best else ""


def study_costs(
    run: shared_options.RunName = None,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.json", help=r"A file for \[broker] costs.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Fit spread, slippage and impact to the fills of a run, by symbol and hour, with the error of the fit."""
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.recovery.replay import slices_of
    from quantd.research.studies import cost_fit
    from quantd.trading.execution import FittedCost

    if out is not None:
        check_folder(out)
    home = place(config, state, sets)
    records, record = recorded(home, run)
    configuration = read(config, sets)
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
    try:
        result = cost_fit.fit_costs(record.run, record.universe, fills, configured_cost)
    except cost_fit.TooFewFills as why:
        raise Failure(str(why), CHECK_FAILED) from None
    if out is not None:
        write_whole(out, cost_fit.encoded(result))
    config_lines = [f"  {out}: write [broker] costs = {toml_value(str(out))}"] if out is not None else []
    answer(as_json, result, *cost_fit.lines(result), *config_lines)
    return DONE


OPTIONAL_COLUMNS: Final = ("values", "trials of models", "family", "withdrawn", "foresight")
"""Columns of the table of looks that are left out where every row is empty in them."""

REASONS: Final = ("leak", "misaligned", "wrong-data")
"""Why a look is withdrawn (`trials.Reason`), as values of --reason."""

ID_LENGTH: Final = 8
"""Number of characters of a look's digest that are its id."""

MOST_CHARACTERS: Final = 500
"""Most characters of --words, the description of the fault of a withdrawn look."""


def _look(look: "Look", ledger: "Known") -> dict[str, object]:
    """Return a look (an evaluation on a market) as a JSON document, with the symbols and bar interval of its market."""
    identity, withdrawal = look.identity, ledger.withdrawals.get(look.digest)
    return {
        "id": look.digest[:ID_LENGTH],
        "withdrawn": withdrawal and {"reason": withdrawal.reason, "words": withdrawal.words},
        "foresight": ledger.foreknowledge.get((look.digest, look.sharpe), ""),
        **to_builtins(replace(look, identity=None)),
        "symbols": None if identity is None else identity.symbols,
        "interval": None if identity is None else identity.interval,
    }


def _withdraw_look(folder: Path, look_id: str, reason: str | None, words: str, as_json: bool) -> int:
    """Withdraw a look (an evaluation on a market) in the ledger of the state folder, and print the trials that count.

    `words` describe the fault of the look. Returns the exit code. Raises Failure for a wrong reason, wrong words, an
    unknown id, or a ledger that cannot be written.
    """
    from quantd.research.runs.looks import NotWithdrawn, withdraw

    if reason not in REASONS:
        raise Failure(f"--reason {reason or ''!r}: write one of {', '.join(REASONS)}", USAGE)
    if not words.strip() or not words.isprintable() or len(words) > MOST_CHARACTERS:
        text = f"--words: describe the fault in 1 to {MOST_CHARACTERS} printable characters; they stay in the ledger"
        raise Failure(text, USAGE)
    try:
        ledger, look = withdraw(folder, look_id, cast("Reason", reason), words.strip())
    except NotWithdrawn as why:
        raise Failure(str(why), CHECK_FAILED) from None
    except OSError as why:
        raise Failure(f"{why.filename}: {why.strerror}; the look is not withdrawn", CHECK_FAILED) from None
    if as_json:
        print_json({"withdrawn": _look(look, ledger), "trials": ledger.trials})
        return DONE
    say(f"withdrawn: {look.kind} {look.name}, {look.market_text or 'market not recorded'}, Sharpe {look.sharpe:.2f}")
    say(f"The look stays a trial. {ledger.like(look).text}")
    say("Where a withdrawal raises a deflated ratio, the ratio without withdrawals is printed beside it.")
    return DONE


def study_looks(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    withdraw: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Withdraw the look with this id: it stays a trial, and its ratio leaves the spread of the others.",
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="|".join(REASONS), help="Why it is withdrawn.")] = None,
    words: Annotated[str, typer.Option(metavar="TEXT", help="The fault in words; they stay in the ledger.")] = "",
    as_json: Json = False,
) -> int:
    """List the looks at markets that the ledger has, and check that none was changed; exit code 1 when one was."""
    from quantd.research.runs.looks import read_looks

    folder = place(config, state, sets).folder
    if withdraw is not None:
        return _withdraw_look(folder, withdraw, reason, words, as_json)
    if reason is not None or words:
        raise Failure("--reason and --words describe a withdrawal: name its look with --withdraw ID", USAGE)
    ledger = read_looks(folder)
    if as_json:
        print_json({
            **ledger.document, "remedy": ledger.remedy,
            "looks": [_look(look, ledger) for look in ledger.looks],
        })  # fmt: skip
        return CHECK_FAILED if ledger.fault else DONE
    rows = [
        (
            look.digest[:ID_LENGTH], look.kind, look.name,
            ", ".join(f"{key} {value}" for key, value in look.values.items()),
            look.market_text or "not recorded", look.first, look.last, f"{look.sharpe:.2f}",
            str(sum(look.models.values()) or ""), ", ".join(sorted(ledger.families.get(look.digest, ()))),
            ledger.withdrawals[look.digest].text if look.digest in ledger.withdrawals else "",
            ledger.foreknowledge.get((look.digest, look.sharpe), ""),
        )
        for look in ledger.looks
    ]  # fmt: skip
    heads = ("id", "kind", "name", "values", "market", "first", "last", "Sharpe", "trials of models", "family",
             "withdrawn", "foresight")  # fmt: skip
    shown = [k for k, name in enumerate(heads) if name not in OPTIONAL_COLUMNS or any(row[k] for row in rows)]
    table([heads[k] for k in shown], [[row[k] for k in shown] for row in rows], ("Sharpe", "trials of models"))
    model_count = len({digest for look in ledger.looks for digest in look.models})
    count = len(ledger.looks)
    text = f"{count:,} configuration{'' if count == 1 else 's'}."
    if model_count:
        trained = "1 trained policy" if model_count == 1 else f"{model_count:,} trained policies"
        text += (
            f" Behind {trained} there are {ledger.behind_models:,} further trials (seeds, checkpoints, test looks, "
            "tuning); the trials of a policy are counted once."
        )
    say(f"{text} {ledger.text}")
    if not ledger.fault:
        say("A result is deflated by the trials of its own market: a common symbol, year and bar interval.")
    return CHECK_FAILED if ledger.fault else DONE


COMMAND: Final = Command(
    "Trade",
    40,
    {
        "lookahead": study_lookahead,
        "signal": study_signal,
        "compare": study_compare,
        "parity": study_parity,
        "rebalance": study_rebalance,
        "crises": study_crises,
        "power": study_power,
        "costs": study_costs,
        "looks": study_looks,
    },
)

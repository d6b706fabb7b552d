"""Every command of `quantd` with its options. What a command does is imported when it runs."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from quantd.daemon.cli import artifact_commands
from quantd.models.learners import names

app = typer.Typer(
    name="quantd",
    help="An event-driven trading daemon. `quantd run` trades on paper; `quantd COMMAND --help` explains a command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="QUANTD_CONFIG", help="The configuration.", show_default="config.toml")
]
State = Annotated[
    Path | None,
    typer.Option("--state", envvar="QUANTD_STATE", help="The state folder, in place of the configured one."),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key; may be given again.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Last = Annotated[int, typer.Option("--last", "-n", min=1, max=1_000_000, help="How many, the newest.")]
Run = Annotated[str | None, typer.Option("--run", help="A run by its name; the newest without it.")]

CONFIG = Path("config.toml")

LEARNERS = names()


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write 2019-01-02") from None


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def parsed(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, names))}.")
        return text

    return parsed


Day = Annotated[date | None, typer.Option(parser=_date, metavar="DATE")]


@app.command(rich_help_panel="Trade")
def run(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="End the run in the state folder and begin a new one.")
    ] = False,
    carry: Annotated[
        bool, typer.Option("--carry", help="Carry the account on under another universe or other agents.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="One of the four things that live trading needs.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary on the terminal.")] = False,
) -> None:
    """Start the daemon; start it again and it continues where it was. Ctrl-C stops it in order."""
    from quantd.daemon.cli.trade import run as running

    running.run(config, state, tuple(sets or ()), fresh=fresh, carry=carry, live=live, as_json=as_json, quiet=quiet)


@app.command(rich_help_panel="Trade")
def backtest(
    config: Config = CONFIG,
    start: Annotated[date | None, typer.Option("--from", parser=_date, metavar="DATE", help="First day.")] = None,
    end: Annotated[date | None, typer.Option("--to", parser=_date, metavar="DATE", help="Last day.")] = None,
    state: State = None,
    sets: Sets = None,
    journal: Annotated[bool, typer.Option("--journal", help="Keep the journal, for `quantd replay`.")] = False,
    report: Annotated[Path | None, typer.Option("--report", metavar="OUT.html", help="Write a page about it.")] = None,
    no_compare: Annotated[
        bool, typer.Option("--no-compare", help="Do not run equal weight beside it (half the time).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the configuration over its recorded market, as fast as it goes. The digest is that of `run`."""
    from quantd.daemon.cli.trade import backtest as backtesting

    backtesting.backtest(
        config, tuple(sets or ()), start=start, end=end, as_json=as_json, state=state, journal=journal, report=report,
        compare=not no_compare,
    )  # fmt: skip


@app.command(rich_help_panel="Trade")
def replay(
    run: Annotated[str | None, typer.Argument(help="A run by its name; the newest without it.")] = None,
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    policies: Annotated[
        bool, typer.Option("--policies", help="Also ask the policies again and list differences.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold a run's journal again from its first entry and compare every step with the record."""
    from quantd.daemon.cli.trade import replay as replaying

    raise typer.Exit(replaying.replay(config, state, tuple(sets or ()), run, policies=policies, as_json=as_json))


@app.command(rich_help_panel="Look")
def status(config: Config = CONFIG, state: State = None, sets: Sets = None, as_json: Json = False) -> None:
    """How the run stands: switch, equity, agents."""
    from quantd.daemon.cli.look import status as reading

    reading.status(config, state, tuple(sets or ()), as_json=as_json)


@app.command(rich_help_panel="Look")
def orders(
    config: Config = CONFIG,
    state: State = None,
    last: Last = 20,
    run: Run = None,
    symbol: Annotated[str | None, typer.Option(help="Of one symbol.")] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="What was cut or refused instead, with an address for `quantd why`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The newest orders as they are now."""
    from quantd.daemon.cli.look import status as reading

    reading.orders(config, state, last=last, run=run, symbol=symbol, refused=refused, as_json=as_json)


@app.command(rich_help_panel="Look")
def positions(config: Config = CONFIG, state: State = None, sets: Sets = None, as_json: Json = False) -> None:
    """What the house holds, and in which agents' books."""
    from quantd.daemon.cli.look import status as reading

    reading.positions(config, state, tuple(sets or ()), as_json=as_json)


@app.command(rich_help_panel="Look")
def decisions(
    config: Config = CONFIG, state: State = None, last: Last = 5, run: Run = None, as_json: Json = False
) -> None:
    """What agents wanted and what became of it."""
    from quantd.daemon.cli.look import status as reading

    reading.decisions(config, state, last=last, run=run, as_json=as_json)


@app.command(rich_help_panel="Look")
def risk(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    agent: Annotated[str | None, typer.Option("--agent", "-a", metavar="NAME", help="An agent's book.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Head-room of one symbol.")] = None,
    as_json: Json = False,
) -> None:
    """The switch, each limit with what is left of it, and how much more of each symbol could be traded."""
    from quantd.daemon.cli.look import risk as standing

    standing.risk(config, state, tuple(sets or ()), agent=agent, symbol=symbol, as_json=as_json)


@app.command(rich_help_panel="Look")
def plan(config: Config = CONFIG, state: State = None, sets: Sets = None, as_json: Json = False) -> None:
    """What would be traded if every agent were asked now, at what cost, refused by what. Nothing is traded."""
    from quantd.daemon.cli.look import risk as standing

    standing.plan(config, state, tuple(sets or ()), as_json=as_json)


@app.command(rich_help_panel="Look")
def alerts(
    config: Config = CONFIG,
    state: State = None,
    last: Last = 20,
    run: Run = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Then those that come, over MQTT.")] = False,
    as_json: Json = False,
) -> None:
    """The newest alerts. With --follow and --json one document a line."""
    from quantd.daemon.cli.operate import switch as operating

    operating.alerts(config, state, last=last, run=run, follow=follow, as_json=as_json)


@app.command(rich_help_panel="Look")
def report(
    config: Config = CONFIG,
    start: Annotated[date | None, typer.Option("--from", parser=_date, metavar="DATE", help="First day.")] = None,
    end: Annotated[date | None, typer.Option("--to", parser=_date, metavar="DATE", help="Last day.")] = None,
    state: State = None,
    sets: Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.html", help="The page; in the state folder without it.")
    ] = None,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Write the risk report of a run: limits and their use, VaR, stress, alerts, refusals, each agent."""
    from quantd.daemon.cli.look import report as reporting

    reporting.write(config, state, tuple(sets or ()), start=start, end=end, out=out, run=run, as_json=as_json)


@app.command(rich_help_panel="Look")
def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ORDER|ADDRESS|SYMBOL",
            help="An order's id (`quantd orders`), a symbol of a decision (d4812:QQQ, `quantd decisions`), or a symbol.",
        ),
    ],
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Of a symbol: the newest decision up to a day or instant, UTC."),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Of a symbol: the newest decision (so it is without --at).")
    ] = False,
    run: Run = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Only what was recorded: at once, without head-room in the symbol.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Why an order was made as it was, or why none was: what each agent wanted, what each limit said, how much was left."""
    if last and at is not None:
        raise typer.BadParameter("--at and --last exclude each other")
    from quantd.daemon.cli.look import why as reasons

    reasons.why(config, state, tuple(sets or ()), what, at=at, run=run, recorded=recorded, as_json=as_json)


@app.command(rich_help_panel="Look")
def export(
    what: Annotated[str, typer.Argument(metavar="fills|orders|equity")],
    config: Config = CONFIG,
    state: State = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.csv", help="A file; standard output without it.")
    ] = None,
    run: Run = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="agent", help="Fills by agent: one row per share, and crosses.")
    ] = None,
) -> None:
    """Write fills, orders or equity as CSV: exact text, ISO 8601 UTC."""
    from quantd.daemon.cli.look import export as exporting

    exporting.export(config, state, what, out=out, run=run, by=by)


study = typer.Typer(help="Questions about a policy that a backtest does not answer.", no_args_is_help=True)
app.add_typer(study, name="study", rich_help_panel="Trade")


@study.command("lookahead")
def study_lookahead(
    policy: Annotated[str, typer.Argument(metavar="FILE.py:act", help="A policy, as config.toml would name it.")],
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    cuts: Annotated[int, typer.Option("--cuts", min=1, max=10_000, help="Days to cut the market after.")] = 40,
    as_json: Json = False,
) -> None:
    """Does a policy know tomorrow? Ask it again on markets that end earlier; exit code 1 if an answer differs."""
    from quantd.daemon.cli.trade import study as studying

    code = studying.study_lookahead(config, state, tuple(sets or ()), policy, cuts=cuts, as_json=as_json)
    raise typer.Exit(code)


@study.command("compare")
def study_compare(
    policies: Annotated[
        list[str] | None,
        typer.Argument(help="Registered names, artifact folders or files; every registered one without."),
    ] = None,
    every: Annotated[Literal["day", "week", "month"], typer.Option(help="How often they are asked.")] = "month",
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Policies side by side: each alone over the recorded market, after costs, beside equal weight."""
    from quantd.daemon.cli.trade import study as studying

    code = studying.study_compare(config, state, tuple(sets or ()), tuple(policies or ()), every=every, as_json=as_json)
    raise typer.Exit(code)


@study.command("parity")
def study_parity(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The newest without it.")] = None,
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    day: Annotated[
        date | None, typer.Option("--day", parser=_date, metavar="DATE", help="One day of it (UTC).")
    ] = None,
    as_json: Json = False,
) -> None:
    """A run's journal beside a backtest over the same bars: decisions, prices, fills and costs, in money, with the causes."""
    from quantd.daemon.cli.trade import study as studying

    raise typer.Exit(studying.study_parity(config, state, tuple(sets or ()), run, day=day, as_json=as_json))


@study.command("rebalance")
def study_rebalance(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="The first of the file without it.")] = None,
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    costs: Annotated[
        list[float] | None, typer.Option("--cost", min=0, max=1_000, metavar="BP", help="1, 5, 10 and 20 without it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="F.csv", help="Also as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """How often is it worth rebalancing? One agent daily to half-yearly, by drift, by events and by cost, at each cost."""
    from quantd.daemon.cli.trade import study as studying

    given = tuple(costs or (1.0, 5.0, 10.0, 20.0))
    raise typer.Exit(
        studying.study_rebalance(config, state, tuple(sets or ()), agent, costs=given, out=out, as_json=as_json)
    )


features = typer.Typer(
    help="The features that policies may read of the market, and what each needs.", no_args_is_help=True
)
app.add_typer(features, name="features", rich_help_panel="Look")


@features.command("list")
def features_list(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One feature, with any window: rsi_21.week.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="SET", help="default, four_asset, full or observation.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many.")] = False,
    as_json: Json = False,
) -> None:
    """Every feature: what it is, how many samples it reads, where its formula is, whether it can be had here."""
    from quantd.daemon.cli.look import features as listing

    raise typer.Exit(listing.features_list(of, name, count=count, as_json=as_json))


bench = typer.Typer(help="How long things take here.", no_args_is_help=True)
app.add_typer(bench, name="bench", rich_help_panel="Trade")


@bench.callback()
def bench_commands() -> None:
    """How long things take here."""


@bench.command("portfolio")
def bench_portfolio(config: Config = CONFIG, state: State = None, sets: Sets = None, as_json: Json = False) -> None:
    """Time an asset update, a risk report, an allocation and an inference; exit code 1 when a p99 is above its limit."""
    from quantd.daemon.cli.learn import bench as benching

    raise typer.Exit(benching.portfolio(config, state, tuple(sets or ()), as_json=as_json))


@bench.command("inference")
def bench_inference(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Artifacts; all that came with quantd.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Observations in one call.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Of the processor, for one call.")] = 1,
    as_json: Json = False,
) -> None:
    """Time trained policies from an observation to weights; exit code 1 when a decision's p99 is above 15 ms."""
    from quantd.daemon.cli.learn import bench_inference as timing

    raise typer.Exit(timing.inference(folders or (), batch, threads, as_json=as_json))


data = typer.Typer(help="Bars: download them, check them, list what is kept.", no_args_is_help=True)
app.add_typer(data, name="data", rich_help_panel="Set up")

Calendar = Annotated[
    str | None,
    typer.Option("--calendar", help="Of all symbols; without it 24/7 for pairs such as BTC-USD, XNYS for others."),
]
Cache = Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Where downloads are kept.")]


@data.command("fetch")
def data_fetch(
    symbols: Annotated[list[str], typer.Argument(help="SPY QQQ BTC-USD")],
    start: Annotated[date, typer.Option("--from", parser=_date, metavar="DATE", help="First day.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="F.parquet", help="The file; actions go beside it.")],
    end: Annotated[date | None, typer.Option("--to", parser=_date, metavar="DATE", help="Last day; today.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", "-s", metavar="KIND", help="yfinance (default), alpaca, ccxt, http; repeat for a fallback."
        ),
    ] = None,
    interval: Annotated[
        str, typer.Option("--interval", "-i", help="1m to 12h, 1d; 1wk and 1mo with --adjusted.")
    ] = "1d",
    adjusted: Annotated[
        bool, typer.Option("--adjusted", help="For splits and dividends, as yfinance does it.")
    ] = False,
    feed: Annotated[str, typer.Option("--feed", help="Of alpaca: iex is free, sip is the whole market.")] = "iex",
    exchange: Annotated[str, typer.Option("--exchange", help="Of ccxt: kraken, coinbase, ...")] = "",
    mapping: Annotated[
        Path | None, typer.Option("--mapping", metavar="F.toml", help="Of http: docs/operate/feeds.md.")
    ] = None,
    url: Annotated[str, typer.Option("--url", help="Another address of the source, such as a proxy of your own.")] = "",
    calendar: Calendar = None,
    currency: Annotated[str, typer.Option("--currency", help="That prices must be in.")] = "USD",
    cache: Cache = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ask the network for all of it, keep nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Download bars into a file, with splits and dividends beside it. A failed download writes nothing."""
    from quantd.daemon.cli.setup import data as bars
    from quantd.daemon.cli.setup.vendors import Wanted, cache_folder

    kept = None if no_cache else cache or cache_folder()
    wanted = Wanted(tuple(source or ["yfinance"]), adjusted, feed, exchange, mapping, url, kept)
    code = bars.fetch(
        symbols, wanted, interval=interval, start=start, end=end, out=out, calendar=calendar, currency=currency,
        as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


@data.command("check")
def data_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bars, as parquet or CSV.")],
    actions: Annotated[
        Path | None, typer.Option("--actions", metavar="F.csv", help="Splits and dividends; FILE.actions.csv if there.")
    ] = None,
    stamps: Annotated[
        Literal["session", "open", "close"] | None, typer.Option("--stamps", help="How it dates bars.")
    ] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="1m to 12h, or 1d.")] = None,
    calendar: Calendar = None,
    as_json: Json = False,
) -> None:
    """Judge every bar of a file as a run would; exit code 1 names each kind of fault, how often and where first."""
    from quantd.daemon.cli.setup import data_check as data_checking

    code = data_checking.check(
        file, actions=actions, stamps=stamps, interval=interval, calendar=calendar, as_json=as_json
    )
    raise typer.Exit(code)


@data.command("list")
def data_list(cache: Cache = None, as_json: Json = False) -> None:
    """What is kept of downloads."""
    from quantd.daemon.cli.setup import data as bars

    raise typer.Exit(bars.listing(cache, as_json=as_json))


schedule = typer.Typer(help="When agents are asked and jobs run.", no_args_is_help=True)
app.add_typer(schedule, name="schedule", rich_help_panel="Look")


@schedule.command("next")
def schedule_next(
    n: Annotated[int, typer.Argument(min=1, max=10_000, help="How many.")] = 10,
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TIME|now", help="From a date or an instant on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The coming instants in exchange time and UTC. A replayed run has a clock of its own; --after chooses another."""
    from quantd.daemon.cli.look import schedule as scheduling

    scheduling.coming(config, state, tuple(sets or ()), n, after=after, as_json=as_json)


Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the journal.")]
Agent = Annotated[str, typer.Option("--agent", "-a", metavar="NAME", help="One agent; the whole house without it.")]
Mqtt = Annotated[
    str,
    typer.Option(
        "--mqtt",
        metavar="URL",
        help="Send it over MQTT, signed: mqtt://host:1883/quantd/paper (docs/operate/switch.md).",
    ),
]


Symbol = Annotated[
    str, typer.Option("--symbol", "-s", metavar="SYMBOL", help="One symbol: no new orders for it; its positions stay.")
]


def _operator(
    name: Literal["halt", "reduce", "resume", "flatten"],
    text: str,
    for_agents: bool = True,
    for_symbols: bool = False,
) -> None:
    def symbol_too(
        config: Config = CONFIG,
        state: State = None,
        sets: Sets = None,
        reason: Reason = "",
        agent: Agent = "",
        symbol: Symbol = "",
        mqtt: Mqtt = "",
        as_json: Json = False,
    ) -> None:
        if not symbol:
            one(config, state, sets, reason, agent, mqtt, as_json)
            return
        if agent or mqtt:
            raise typer.BadParameter("--symbol is of the whole house, at the daemon itself: without --agent and --mqtt")
        from quantd.daemon.cli.operate import manual as by_hand

        by_hand.halt(config, state, tuple(sets or ()), name, symbol, reason=reason, as_json=as_json)

    def one(
        config: Config = CONFIG,
        state: State = None,
        sets: Sets = None,
        reason: Reason = "",
        agent: Agent = "",
        mqtt: Mqtt = "",
        as_json: Json = False,
    ) -> None:
        if mqtt:
            from quantd.daemon.cli.operate import remote

            remote.command(config, mqtt, name, reason=reason, agent=agent, as_json=as_json)
            return
        from quantd.daemon.cli.operate import switch as operating

        operating.command(config, state, tuple(sets or ()), name, reason=reason, agent=agent, as_json=as_json)

    def house(
        config: Config = CONFIG,
        state: State = None,
        sets: Sets = None,
        reason: Reason = "",
        mqtt: Mqtt = "",
        as_json: Json = False,
    ) -> None:
        one(config, state, sets, reason, "", mqtt, as_json)

    made = symbol_too if for_symbols else one if for_agents else house
    app.command(name, help=text, rich_help_panel="Operate")(made)


_operator("halt", "Stop all trading and cancel every open order; positions stay. `resume` re-arms.", for_symbols=True)
_operator("reduce", "Let only orders pass that make positions smaller.")
_operator("resume", "Back to RUN; needs --reason, and every mark becomes the equity now.", for_symbols=True)
_operator("flatten", "Sell everything held, then stay halted.", for_agents=False)


@app.command(rich_help_panel="Operate")
def order(
    side: Annotated[Literal["buy", "sell"], typer.Argument(metavar="buy|sell")],
    qty: Annotated[str, typer.Argument(metavar="QTY", help="In units: 10, 0.25.")],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL")],
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Annotated[
        str, typer.Option("--agent", "-a", metavar="NAME", help="Whose book; `manual`, the table [manual], without it.")
    ] = "",
    stop: Annotated[str, typer.Option(metavar="PRICE", help="Close the position at this price or worse.")] = "",
    target: Annotated[str, typer.Option(metavar="PRICE", help="Close the position at this price or better.")] = "",
    as_json: Json = False,
) -> None:
    """Order by hand, through the gate, into a book; says what passed and what cut it. Needs --reason."""
    from quantd.daemon.cli.operate import manual as by_hand

    code = by_hand.order(
        config, state, tuple(sets or ()), side, qty, symbol, reason=reason, agent=agent, stop=stop, target=target,
        as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


cash_app = typer.Typer(help="Money that people move in and out of a simulated account.", no_args_is_help=True)
app.add_typer(cash_app, name="cash", rich_help_panel="Operate")


def _cash(name: Literal["add", "remove"], text: str) -> None:
    def one(
        amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="1000.00")],
        config: Config = CONFIG,
        state: State = None,
        sets: Sets = None,
        reason: Reason = "",
        agent: Annotated[
            str, typer.Option("--agent", "-a", metavar="NAME", help="Whose book; the unallocated one without it.")
        ] = "",
        as_json: Json = False,
    ) -> None:
        from quantd.daemon.cli.operate import manual as by_hand

        by_hand.cash(config, state, tuple(sets or ()), name, amount, reason=reason, agent=agent, as_json=as_json)

    cash_app.command(name, help=text)(one)


_cash("add", "Pay in. No profit: the high-water mark moves with it.")
_cash("remove", "Take out, at most what no open order may need. No loss.")


@app.command(rich_help_panel="Operate")
def reconcile(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    fence: Annotated[
        bool, typer.Option("--fence", help="Leave alone what the venue has and we do not know of.")
    ] = False,
    adopt: Annotated[str, typer.Option("--adopt", metavar="AGENT", help="Take it into this agent's book.")] = "",
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Compare our account with the venue's now; exit code 1 when they differ. --fence or --adopt settles it, with --reason."""
    if fence and adopt:
        raise typer.BadParameter("--fence and --adopt exclude each other")
    from quantd.daemon.cli.operate import manual as by_hand

    how = "fence" if fence else adopt
    raise typer.Exit(by_hand.reconcile(config, state, tuple(sets or ()), how, reason=reason, as_json=as_json))


@app.command(rich_help_panel="Set up")
def init(
    folder: Annotated[Path, typer.Argument(help="Where to.")] = Path(),
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="NAME", help="A policy of your own instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write config.toml, or NAME.py with its test and the lines for config.toml."""
    from quantd.daemon.cli.setup import init as beginning

    if policy is None:
        beginning.write_config(folder, as_json=as_json)
    else:
        beginning.write_policy(folder, policy, as_json=as_json)


@app.command(rich_help_panel="Set up")
def doctor(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    store: Annotated[bool, typer.Option("--store", help="Fold the whole journal again and compare.")] = False,
    live: Annotated[bool, typer.Option("--live", help="What live trading needs.")] = False,
    as_json: Json = False,
) -> None:
    """Check what a run needs: Python, packages, configuration, data, policies, ports."""
    from quantd.daemon.cli.setup import doctor as checks

    raise typer.Exit(checks.doctor(config, state, tuple(sets or ()), store=store, live=live, as_json=as_json))


@app.command(rich_help_panel="Set up")
def upgrade(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a store that an older quantd made to this version, after a backup. Does nothing where there is nothing to do."""
    from quantd.daemon.cli.setup import store as storing

    storing.upgrade(config, state, tuple(sets or ()), dry=dry, as_json=as_json)


@app.command(rich_help_panel="Set up")
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE.tar|DIR", help="A new file or folder.")],
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Copy the store with its head, archives and saved configurations, also while the daemon runs, and check the copy."""
    from quantd.daemon.cli.setup import store as storing

    storing.backup(config, state, tuple(sets or ()), target, as_json=as_json)


@app.command(rich_help_panel="Set up")
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE.tar|DIR", help="What `quantd backup` wrote.")],
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Also where a store is already; it is kept aside.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup back into an empty state folder, or into the database of [store] url, and check it there."""
    from quantd.daemon.cli.setup import store as storing

    storing.restore(config, state, tuple(sets or ()), source, force=force, as_json=as_json)


store_app = typer.Typer(help="The store of a stopped daemon.", no_args_is_help=True)
app.add_typer(store_app, name="store", rich_help_panel="Set up")


@store_app.callback()
def store_commands() -> None:
    """The store of a stopped daemon."""


Days = Annotated[float | None, typer.Option(min=1, metavar="N", help="Keep N days of it; that of [store] without it.")]


@store_app.command("compact")
def store_compact(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            "--keep-days", min=0, help="Journal rows younger than this stay.", show_default="[store] keep_days"
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where archives go.", show_default="[store] archives")
    ] = None,
    alerts_days: Days = None,
    equity_days: Days = None,
    orders_days: Days = None,
    as_json: Json = False,
) -> None:
    """Move journal rows that no recovery needs into checked parquet archives; `replay` and `why` still read them."""
    from quantd.daemon.cli.setup import store as storing

    days = {
        "journal_days": keep_days, "alerts_days": alerts_days, "equity_days": equity_days, "orders_days": orders_days,
    }  # fmt: skip
    storing.compact(config, state, tuple(sets or ()), days=days, to=to, as_json=as_json)


config_app = typer.Typer(help="The configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config", rich_help_panel="Set up")


@config_app.command("check")
def config_check(config: Config = CONFIG, sets: Sets = None, as_json: Json = False) -> None:
    """Name every mistake in the configuration; exit code 78 when there is one."""
    from quantd.daemon.cli.setup import config_check as checking

    raise typer.Exit(checking.check(config, tuple(sets or ()), as_json=as_json))


@config_app.command("show")
def config_show(config: Config = CONFIG, sets: Sets = None, as_json: Json = False) -> None:
    """Print every setting as it holds, with where it comes from."""
    from quantd.daemon.cli.setup import config_check as checking

    checking.show(config, tuple(sets or ()), as_json=as_json)


@app.command(rich_help_panel="Learn")
def train(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN.toml]", help="What to train, as in examples/train.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            parser=_one_of((*LEARNERS, "scorer")),
            metavar=f"[{'|'.join((*LEARNERS, 'scorer'))}]",
            help="Who learns.",
            show_default="the plan's, or ppo",
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="Named settings of the agent, such as prioritized (dqn).")] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Env-steps of each seed.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="The same in episodes of full length.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="How many, from 1 on.", show_default="5")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="This one alone.")] = None,
    bars: Annotated[Path | None, typer.Option(help="Daily raw bars.", show_default="data/us_daily.parquet")] = None,
    actions: Annotated[
        str | None, typer.Option(help='Splits, dividends; "" for none.', show_default="data/us_actions.csv")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Joined by commas.", show_default="AAPL,BAC,IWM,QQQ,SPY")] = None,
    envs: Annotated[int | None, typer.Option(min=1, help="Accounts that learn side by side.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the learner.")] = None,
    device: Annotated[str | None, typer.Option(help="Where tensors live.", show_default="cpu")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the artifact.", show_default="in the run's folder")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Name of the run.", show_default="the plan's name")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this run was stopped.")] = False,
    tracker: Annotated[
        Literal["files", "mlflow", "tensorboard", "none"] | None,
        typer.Option(
            help="Who else gets the curves; files are always written.", show_default="mlflow, where installed"
        ),
    ] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Multiply in bfloat16, where the learner can.")] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of a plan; may be given again.")
    ] = None,
    looks: Annotated[
        int, typer.Option("--test-looks", min=0, help="Looks at the test part before this run, by earlier forms.")
    ] = 0,
    show: Annotated[bool, typer.Option("--show", help="Print every setting and do nothing.")] = False,
    iterations: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Gradient steps of the scorer.", show_default="120")
    ] = None,
    on: Annotated[Literal["local", "ray"], typer.Option(help="Where seeds are fitted.")] = "local",
    workers: Annotated[int, typer.Option(min=1, max=10_000, help="Seeds at once.")] = 1,
    address: Annotated[
        str, typer.Option(help="Of a Ray cluster.", show_default="one begun on this machine, and ended")
    ] = "",
) -> None:
    """Train a policy and write it as an artifact with its model card. Ctrl-C stops it in order; --resume goes on."""
    from quantd.daemon.cli.learn import train as training

    if agent == "scorer":
        raise typer.Exit(
            training.scorer(
                out, bars=bars, actions=actions, symbols=symbols, seeds=seeds, iterations=iterations, resume=resume,
                sets=(plan, profile or None, steps, episodes, seed, envs, learning_rate, device, tracker, *(sets or ())),
            )
        )  # fmt: skip
    asked = training.Asked(
        plan=plan, agent=agent, profile=profile, steps=steps, episodes=episodes, seeds=seeds, seed=seed, bars=bars,
        actions=actions, symbols=symbols, envs=envs, learning_rate=learning_rate, device=device, bf16=bf16,
        sets=tuple(sets or ()), iterations=iterations,
    )  # fmt: skip
    raise typer.Exit(
        training.train(
            asked, out=out, experiment=experiment, resume=resume, tracker=tracker, looks=looks, show=show, on=on,
            workers=workers, address=address,
        )
    )  # fmt: skip


@app.command(rich_help_panel="Learn")
def evaluate(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A folder that `quantd train` wrote.")],
    first: Annotated[date, typer.Option("--from", parser=_date, metavar="DATE", help="First day.")],
    until: Annotated[date, typer.Option("--to", parser=_date, metavar="DATE", help="Last day.")],
    bars: Annotated[Path | None, typer.Option(help="Daily raw bars.", show_default="as it was trained on")] = None,
    actions: Annotated[
        str | None,
        typer.Option(
            help='Splits and dividends; "" for none.',
            show_default="as trained; of other bars BARS.actions.csv beside them, or none",
        ),
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Joined by commas.", show_default="as trained")] = None,
    as_json: Json = False,
) -> None:
    """Run a learned policy over a window in whole shares, after costs, beside equal weight on the same days."""
    from quantd.daemon.cli.learn import evaluate as evaluating

    raise typer.Exit(
        evaluating.evaluate(artifact, first, until, bars=bars, actions=actions, symbols=symbols, as_json=as_json)
    )


@app.command(rich_help_panel="Set up")
def retrain(
    source: Annotated[Path, typer.Argument(metavar="ARTIFACT|PLAN.toml", help="What is to be trained again.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of versions to write into.")],
    bars: Annotated[Path, typer.Option(help="Daily raw bars.")] = Path("data/us_daily.parquet"),
    actions: Annotated[str, typer.Option(help='Splits and dividends; "" for none.')] = "data/us_actions.csv",
    until: Annotated[
        date | None, typer.Option(parser=_date, metavar="DATE", help="Nothing later is read; else where the bars end.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="The artifact in use; else what the folder stands for.")] = None,
    expanding: Annotated[bool, typer.Option("--expanding", help="The training part begins where it did.")] = False,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the plan.")] = None,
    measure: Annotated[Literal["sharpe", "mean"], typer.Option(help="What has to be better.")] = "sharpe",
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="One-sided, of the comparison.")] = 0.8,
    min_gain: Annotated[float, typer.Option(min=0.0, max=10.0, help="A year, in the measure.")] = 0.0,
    max_drawdown_ratio: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="Of the new one's to the other's.")
    ] = 1.5,
    as_json: Json = False,
) -> None:
    """Train a policy again on newer data, as a new version, and say whether it is worth a try as a challenger."""
    from quantd.daemon.cli.learn import retrain as retraining

    rule = {
        "measure": measure,
        "confidence": confidence,
        "min_gain": min_gain,
        "max_drawdown_ratio": max_drawdown_ratio,
    }
    code = retraining.retrain(
        source, out, bars=bars, actions=Path(actions) if actions else None, until=until, against=against,
        expanding=expanding, sets=tuple(sets or ()), rule=rule, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


models_app = typer.Typer(
    help="Trained artifacts: what they say, whether they are whole; the forests.", no_args_is_help=True
)
app.add_typer(models_app, name="models", rich_help_panel="Set up")

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="An artifact, such as models/shipped/scorer.")]


@models_app.callback()
def models_commands() -> None:
    """Trained artifacts: what they say, whether they are whole; the forests."""


@models_app.command("info")
def models_info(folder: Folder, as_json: Json = False) -> None:
    """Print what an artifact says of itself, all of it checked first."""
    from quantd.daemon.cli.learn import models

    raise typer.Exit(models.info(folder, as_json=as_json))


@models_app.command("verify")
def models_verify(
    folder: Folder,
    keys: Annotated[
        list[Path] | None, typer.Option("--key", metavar="FILE", help="A public key that signed it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make every check that trading makes, the probe on this machine included; exit code 78 when one fails."""
    from quantd.daemon.cli.learn import models

    raise typer.Exit(models.verify(folder, keys or (), as_json=as_json))


artifact_commands.add(models_app)


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the artifact to write.")]
Bars = Annotated[Path, typer.Option(help="Daily raw bars.")]
Actions = Annotated[str, typer.Option(help='Splits and dividends; "" for none.')]
Names = Annotated[str, typer.Option(help="Names, joined by commas.")]
First = Annotated[date, typer.Option("--from", parser=_date, metavar="DATE", help="First day read.")]
Until = Annotated[date, typer.Option("--to", parser=_date, metavar="DATE", help="Last day read.")]
Horizon = Annotated[int, typer.Option(min=1, max=63, help="Samples ahead that are predicted.")]
Stride = Annotated[int, typer.Option(min=1, max=1_000, help="Rows of every so many sessions.")]
Folds = Annotated[int, typer.Option(min=1, max=100, help="Steps of the walk forward.")]
Embargo = Annotated[
    int, typer.Option(min=0, max=1_000, help="Sessions between an outcome fitted on and a decision judged.")
]
Leaves = Annotated[int, typer.Option(min=2, max=4_096, help="Most leaves of a tree: bounds the file.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1)]


def _trains(predicts: Literal["risk", "correlation", "allocation"], what: str) -> None:
    """The three forests are trained by commands that differ in what is predicted only."""

    def train_forest(
        out: Out,
        bars: Bars = Path("data/us_daily.parquet"),
        actions: Actions = "data/us_actions.csv",
        symbols: Names = "AAPL,BAC,IWM,QQQ,SPY",
        first: First = "1998-01-02",  # type: ignore[assignment]  # typer parses it
        last: Until = "2018-12-31",  # type: ignore[assignment]
        horizon: Horizon = 21,
        stride: Stride = 5,
        folds: Folds = 5,
        embargo: Embargo = 5,
        leaves: Leaves = 64,
        seed: Seed = 1,
        as_json: Json = False,
    ) -> None:
        from quantd.daemon.cli.learn import models

        names = [name for name in symbols.split(",") if name]
        code = models.train(
            predicts, out, bars=bars, actions=Path(actions) if actions else None, symbols=names, first=first, last=last,
            horizon=horizon, stride=stride, folds=folds, embargo=embargo, leaves=leaves, seed=seed, as_json=as_json,
        )  # fmt: skip
        raise typer.Exit(code)

    train_forest.__doc__ = f"Train the forest that predicts {what}, judge it walk forward, write it as an artifact."
    models_app.command(f"train-{predicts}")(train_forest)


_trains("risk", "the volatility of each asset")
_trains("correlation", "the correlation of each pair")
_trains("allocation", "the risk-adjusted return of each asset, relative to the mean")


@models_app.command("evaluate")
def models_evaluate(
    folder: Folder,
    first: Annotated[date, typer.Option("--from", parser=_date, metavar="DATE", help="First decision.")],
    last: Annotated[date, typer.Option("--to", parser=_date, metavar="DATE", help="Last day read.")],
    bars: Bars = Path("data/us_daily.parquet"),
    actions: Actions = "data/us_actions.csv",
    symbols: Names = "AAPL,BAC,IWM,QQQ,SPY",
    as_json: Json = False,
) -> None:
    """Judge a forest beside its plain estimate on a market and dates of your choice, as it trades."""
    from quantd.daemon.cli.learn import models

    names = [name for name in symbols.split(",") if name]
    code = models.evaluate(
        folder, bars=bars, actions=Path(actions) if actions else None, symbols=names, first=first, last=last,
        as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command(rich_help_panel="Learn")
def tune(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN.toml]", help="What every trial begins from, as in examples/train.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            parser=_one_of(LEARNERS),
            metavar=f"[{'|'.join(LEARNERS)}]",
            help="Who learns.",
            show_default="the plan's, or ppo",
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="Named settings of the agent, such as prioritized (dqn).")] = "",
    trials: Annotated[int, typer.Option("--n-trials", min=1, help="In all, those of earlier sittings too.")] = 50,
    max_steps: Annotated[int, typer.Option(min=1, help="Env-steps of each seed of a trial, at most.")] = 50_000,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="A trial's score is the mean over so many.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds, after which trials under way end at their next evaluation.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Its name.", show_default="the plan's name")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder.", show_default="state/tuning/STUDY")] = None,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Of what TPE draws.")] = 0,
    on: Annotated[Literal["local", "ray"], typer.Option(help="Where trials run.")] = "local",
    workers: Annotated[int, typer.Option(min=1, max=10_000, help="Trials at once.")] = 1,
    address: Annotated[
        str, typer.Option(help="Of a Ray cluster.", show_default="one begun on this machine, and ended")
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin the study anew; without it, it goes on.")] = False,
    bars: Annotated[Path | None, typer.Option(help="Daily raw bars.", show_default="data/us_daily.parquet")] = None,
    actions: Annotated[
        str | None, typer.Option(help='Splits, dividends; "" for none.', show_default="data/us_actions.csv")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Joined by commas.", show_default="AAPL,BAC,IWM,QQQ,SPY")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of a plan; may be given again.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what would be searched and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Search a learner's hyper-parameters, by validation alone. Ctrl-C stops it in order; the same command goes on."""
    from quantd.daemon.cli.learn import train as training
    from quantd.daemon.cli.learn import tune as tuning

    asked = training.Asked(
        plan=plan, agent=agent, profile=profile, bars=bars, actions=actions, symbols=symbols, sets=tuple(sets or ())
    )
    search = tuning.Wanted(
        trials=trials, max_steps=max_steps, seeds=seeds, timeout_s=timeout, study=study, sampler_seed=sampler_seed
    )
    if show:
        raise typer.Exit(tuning.show(asked, as_json=as_json))
    place = tuning.Place(out=out, on=on, workers=workers, address=address)
    raise typer.Exit(tuning.tune(asked, search, place, fresh=fresh, as_json=as_json))


def _version(wanted: bool) -> None:
    if wanted:
        from quantd.daemon.runtime.version import code_version

        typer.echo(f"quantd {code_version()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass

"""The tables of config.toml: names, types and defaults of their keys. Checks across tables are in `checks`."""

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from quantd.daemon.config.agent_tables import (
    Agent,
    Approvals,
    CapitalTable,
    Manual,
    Portfolios,
    PromotionTable,
    RetrainTable,
)
from quantd.daemon.config.risk_tables import Alerts, Risk
from quantd.daemon.config.values import (
    BasisPoints,
    Benchmark,
    Cron,
    Deposit,
    Fraction,
    Money,
    MoneyCap,
    Name,
    Reload,
    Section,
    Share,
    Size,
    Symbol,
    Url,
    Written,
    Zone,
    bounds,
    distinct,
    duration,
    filled,
    pattern,
    wrong,
)
from quantd.trading.cash_rate import HIGHEST, LOWEST
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO

Port = Annotated[int, bounds(0, 65_535)]


class Quantd(Section):
    """The name, the mode and the state folder of the run."""

    name: Name = "paper"
    mode: Literal["paper", "live", "shadow"] = "paper"
    state: str = "state"
    live: bool = False
    on_stop: Literal["keep", "cancel"] = "keep"


class InstrumentTable(Section):
    """An instrument. The defaults of `lot` and `tick` follow from the kind of instrument and, on recorded bars, its
    first price.

    `was` is its former symbol in a run that is carried over (`quantd run --carry`).
    """

    symbol: Symbol
    lot_nano: Size | None = Field(default=None, alias="lot")
    tick_nano: Size | None = Field(default=None, alias="tick")
    calendar: str | None = None
    sector: str = ""
    asset: str = ""
    was: Symbol | None = None


Symbols = Annotated[tuple[Symbol, ...], filled("name at least one symbol"), distinct()]


class GroupTable(Section):
    """Instruments whose joint weight `group_caps` may limit."""

    name: Name
    symbols: Symbols


def _date(value: Any) -> Any:
    """Return a date in quotes as a date, because lists of dates are often written like lists of text."""
    if not isinstance(value, str):
        return value
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        wrong("is not a date", 'write "2025-01-09"')


class UniverseTable(Section):
    """The instruments that a run may trade.

    `closed` has dates on which `calendar` has no session although the installed calendar library lists one. A
    `benchmark` outside `symbols` is compared, and never traded. Its bars are in its own file, `benchmark_path`, or in
    [feed] path. `members` is a file with the dates between which each symbol is a member; policies see the members of
    the day.
    """

    symbols: Symbols
    benchmark: Benchmark = ""
    benchmark_path: str = ""
    currency: Annotated[str, pattern(r"[A-Z]{3,5}", 'the code of one currency, "USD"')] = "USD"
    calendar: str = "XNYS"
    closed: Annotated[tuple[Annotated[dt.date, BeforeValidator(_date)], ...], distinct()] = ()
    instruments: tuple[InstrumentTable, ...] = ()
    groups: tuple[GroupTable, ...] = ()
    members: str = ""


VenueId = Annotated[str, pattern(r"|[a-z][a-z0-9]{1,31}", 'the name that ccxt gives an exchange, "kraken"')]


class MacroTable(Section):
    """A series that is not traded, for features.

    `available` is the instant from which a day's value is known: "next_open" of the calendar of the whole account,
    or the "close" of that day.
    """

    name: Annotated[str, pattern(r"[a-z][a-z0-9_]{0,31}", 'a name in lower case, "vix"')]
    path: Annotated[str, pattern(r"\S(.*\S)?", "a file with the columns ts and value")]
    available: Literal["next_open", "close"] = "next_open"


SERIES_NAME = pattern(
    r"(?!.*_(ago|change|z|is)_\d+$)[a-z][a-z0-9_]{0,31}",
    'a name in lower case, "esg", that does not end like a feature of it (_ago_1, _change_5, _z_60, _is_1)',
)


class SeriesTable(Section):
    """A series with a value for each symbol, for features.

    `available` is the instant from which a day's value is known: "next_open" of the account's calendar, or the "close"
    of that day. `column` is the column of the values. A value is unknown after `valid_days` calendar days; with 0 it is
    valid until the next value. With `use = false` the file is not read.
    """

    name: Annotated[str, SERIES_NAME]
    path: Annotated[str, pattern(r"\S(.*\S)?", "a file with the columns ts, symbol and value")]
    available: Literal["next_open", "close"] = "next_open"
    column: Annotated[str, pattern(r"\S(.*\S)?", 'the name of a column of the file, "value"')] = "value"
    valid_days: Annotated[int, bounds(0, 36_500)] = 0
    use: bool = True


class Feed(Section):
    """Recorded or live market data; some keys apply to a replay only, some to a live feed only.

    `venue` is the exchange of kind ccxt. `url` replaces the vendor's own address. `mapping` is the file that describes
    the responses of a vendor of kind http. `build_from` is the source of bars: "" uses the vendor's bars, an interval
    builds from shorter bars, "trades" builds from a file of trades.

    `adjusted` states that recorded prices are adjusted for splits, so that every jump is real. `jumps` decides about an
    open near a split ratio that no action announces: "stop" refuses a backtest or study, and holds the symbol while
    trading; "real" trades it as any other move. `holes` decides about symbols with many rejected bars or long gaps:
    "stop" refuses a backtest or study, "known" permits it. `spikes` decides about recorded bars whose prices are out of
    all proportion to the preceding bars: "stop" refuses a backtest or study, "reject" leaves them out, "real" trades
    them, as in a crisis. `exceptions` is a file that decides about such bars by date and symbol. `zone` is the clock of
    stamps without an offset from UTC; UTC if it is empty. A key `zone` in the mapping of kind http takes precedence.
    """

    kind: str = "replay"
    fallback: tuple[str, ...] = ()
    venue: VenueId = ""
    url: Url = ""
    mapping: str = ""
    plan: Literal["iex", "sip"] = "iex"
    stream: bool = True
    path: str = ""
    actions: str = ""
    adjusted: bool = False
    jumps: Literal["stop", "real"] = "stop"
    holes: Literal["stop", "known"] = "stop"
    spikes: Literal["stop", "reject", "real"] = "stop"
    exceptions: str = ""
    stamps: Literal["close", "open", "session"] = "close"
    zone: Literal[""] | Zone = ""
    interval_ns: Annotated[int, duration("1s", "1d"), Written()] = Field(default=86_400 * NANO, alias="interval")
    start: dt.date | None = None
    end: dt.date | None = None
    build_from: Annotated[str, pattern(r"|trades|[1-9]\d{0,3}[smh]", '"1m" or "trades"')] = ""
    warmup: Annotated[int, bounds(0, 100_000)] = 252
    macro: Annotated[tuple[MacroTable, ...], distinct("name")] = ()
    series: Annotated[tuple[SeriesTable, ...], distinct("name")] = ()
    pace: Annotated[str, pattern(r"fast|real|[1-9]\d{0,5}(\.\d+)?/s|0\.\d*[1-9]\d*/s", '"fast", "real" or "5/s"')] = (
        "fast"
    )
    at_end: Literal["stop", "wait"] = "wait"
    grace_ns: Annotated[int, duration("0s", "1h"), Written()] = Field(default=5 * NANO, alias="grace")

    @property
    def inputs(self) -> frozenset[str]:
        """Names of features' inputs besides bars: macro series ("vix"), used series per symbol ("series esg")."""
        return frozenset({*(m.name for m in self.macro), *(f"series {s.name}" for s in self.series if s.use)})

    @property
    def unused_series(self) -> frozenset[str]:
        """Names of the series per symbol that have `use = false`."""
        return frozenset(series.name for series in self.series if not series.use)


class Broker(Section):
    """Costs of the simulated venue, and settings of a real one.

    A missing cost has its default, so that no backtest is free by omission; write 0 for no cost. `participation = 0`
    means no cap. `costs` is a file that `quantd study costs` wrote; it replaces spread, slippage and impact.

    `venue` names the exchange if kind is "ccxt"; `url` replaces its address. Durations are text ("10s"): `timeout` is
    the longest wait for an answer; `settle` the time after sending within which the venue may not list an order yet;
    `reconcile` the interval of reconciliations. `differences` decides about holdings at the venue that quantd's books
    lack: "" waits for an operator, "fence" leaves them untraded, an agent's name assigns them to that agent.
    `cash_tolerance` is the largest accepted difference in cash between venue and books, in currency.
    """

    kind: str = "paper"
    differences: str = ""
    cash_tolerance_micro: Money = Field(default=0, alias="cash_tolerance")
    venue: VenueId = ""
    url: Url = ""
    timeout_ns: Annotated[int, duration("1s", "60s"), Written()] = Field(default=10 * NANO, alias="timeout")
    settle_ns: Annotated[int, duration("1s", "10m"), Written()] = Field(default=10 * NANO, alias="settle")
    reconcile_ns: Annotated[int, duration("10s", "1d"), Written()] = Field(default=900 * NANO, alias="reconcile")
    cash_micro: Money = Field(alias="cash")
    commission_bp: BasisPoints = 1.0
    slippage_bp: BasisPoints = 1.0
    spread_bp: BasisPoints = 2.0
    slippage_noise: Fraction = 0.0
    commission_min_micro: Money | None = Field(default=None, alias="commission_min")
    impact: Annotated[float, bounds(0, 10_000)] = 0.0
    participation: Fraction = 0.1
    costs_file: str = Field(default="", alias="costs")
    borrow_bp_annual: Annotated[float, bounds(0, 100_000)] = 50.0
    latency_ns: Annotated[int, duration("0s", "1d"), Written()] = Field(default=0, alias="latency")
    seed: Annotated[int, bounds(0, 2**53)] = 0

    def costs(self) -> Costs:
        """Return the simulated venue's costs as a value of `trading`."""
        return Costs(
            commission_bp=self.commission_bp, commission_min_micro=self.commission_min_micro or 0,
            slippage_bp=self.slippage_bp, slippage_noise=self.slippage_noise, spread_bp=self.spread_bp,
            impact=self.impact, participation=self.participation, borrow_bp_annual=self.borrow_bp_annual,
            latency_ns=self.latency_ns, seed=self.seed,
        )  # fmt: skip


def _cash_rate(value: Any) -> float | str:
    """Return the value of `cash_rate`: an annual fraction from LOWEST to HIGHEST, or a file's name.

    Refuses any other value.
    """
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong("is not a rate", 'write an annual fraction, 0.02, or the file of a series, "tbill.csv"')
    if not LOWEST <= value <= HIGHEST:
        remedy = f"write {value / 100:g}" if LOWEST <= value / 100 <= HIGHEST else f"write {LOWEST:g} to {HIGHEST:g}"
        wrong("is not an annual fraction", remedy)
    return float(value)


class Account(Section):
    """The simulated account. `cash_rate` is the annual interest on cash, a fraction or the file of a series by date."""

    cash_rate: Annotated[float | str, BeforeValidator(_cash_rate)] | None = None


class RampTable(Section):
    """The ramp after the first live start: permitted exposure rises from the share `from` to 1 over `days` sessions."""

    days: Annotated[int, bounds(0, 1_000)] = 20
    from_share: Annotated[float, bounds(0, 1, above=True, percent=True)] = Field(default=0.1, alias="from")


class Live(Section):
    """Limits of mode live only: absolute notionals independent of the reported equity, orders a session, the ramp.

    `paper_days` is the number of sessions on paper that `quantd doctor --live` requires. Limits that are looser than
    the limits in force apply after `loosen_after`.
    """

    max_account_notional_micro: MoneyCap | None = Field(default=None, alias="max_account_notional")
    max_order_notional_micro: MoneyCap | None = Field(default=None, alias="max_order_notional")
    max_orders_per_day: Annotated[int, bounds(1, 100_000), Reload("higher")] | None = None
    ramp: RampTable = RampTable()
    paper_days: Annotated[int, bounds(0, 1_000)] = 20
    loosen_after_ns: Annotated[int, duration("1h", "30d"), Written()] = Field(
        default=86_400 * 10**9, alias="loosen_after"
    )


class Schedule(Section):
    """A schedule of a job: `do` is the job's name (`Known.jobs`). The job starts at the times `at`, at those of the
    cron line `cron`, or once in each interval `every`.

    `agents` empty means all agents. `amount` is the money of the job `deposit`; `within` is how long after its instant
    the deposit may arrive at a real venue.
    """

    name: Annotated[str, pattern(r"\S(.{0,62}\S)?", "a name of 64 characters at most")]
    do: str
    at: (
        Annotated[str, pattern(r"(open|close)([+-]\d+(s|m|h))?", '"open", "close", "open+30m" or "close-15m"')] | None
    ) = None
    cron: Cron | None = None
    every_ns: Annotated[int, duration("1s", "30d"), Written()] | None = Field(default=None, alias="every")
    calendar: str | None = None
    timezone: Zone | None = None
    missed: Literal["once", "skip", "alert"] = "once"
    on_closed: Literal["next", "previous", "skip"] = "next"
    agents: tuple[str, ...] = ()
    enabled: bool = True
    amount_micro: Deposit | None = Field(default=None, alias="amount")
    within_ns: Annotated[int, duration("1d", "30d"), Written()] = Field(default=5 * 86_400 * NANO, alias="within")


class ServerTls(Section):
    """The server's certificate and key, files in PEM."""

    certificate: str = ""
    key: str = ""


class Tls(ServerTls):
    """TLS of the bus. `ca` is the certificate authority that the client trusts.

    An empty `ca` means the authorities that the system trusts.
    """

    ca: str = ""


Host = Annotated[str, pattern(r"[A-Za-z0-9.:_-]+", "a host name or an address of this machine")]


class Bus(Section):
    """The message bus. An embedded broker has `host` and `port`, an external one `url` and `protocol` (MQTT version).

    `home_assistant` is the discovery prefix of Home Assistant; empty means no discovery.
    """

    kind: Literal["embedded", "mqtt"] = "embedded"
    host: Host = "127.0.0.1"
    port: Port = 1883
    url: Url = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    username: str = ""
    tls: Tls | None = None
    prefix: Annotated[str, pattern(r"[^\s/+#\x00]+(/[^\s/+#\x00]+)*", "a topic without + or #")] = "quantd"
    home_assistant: Annotated[str, pattern(r"([^\s/+#\x00]+(/[^\s/+#\x00]+)*)?", "a topic without + or #")] = ""
    commands: bool = False


Days = Annotated[float, bounds(1, 36_500)]


class Chase(Section):
    """A limit order that follows the market: each of `most` steps moves it `step_bp` further from the mark."""

    every_ns: Annotated[int, duration("1s", "1d"), Written()] = Field(default=60 * NANO, alias="every")
    step_bp: Annotated[float, bounds(0, 500)] = 5.0
    most: Annotated[int, bounds(0, 1_000)] = 5


def _weights(value: tuple[float, ...]) -> tuple[float, ...]:
    """Return the weights of a volume profile: none negative, and one above 0 unless the profile is empty."""
    if any(weight < 0 for weight in value) or (value and not sum(value) > 0):
        remedy = "write weights of 0 or more for equal parts of the session, at least one above 0"
        wrong("is not a volume profile", remedy)
    return value


class ExecutionTable(Section):
    """The execution of decisions. `profile` has vwap weights of equal spans of a session; the default is U-shaped."""

    style: Literal["marketable", "chase", "twap", "vwap", "participation", "open", "close"] = "marketable"
    over_ns: Annotated[int, duration("1s", "1d"), Written()] = Field(default=1_800 * NANO, alias="over")
    slices: Annotated[int, bounds(1, 1_000)] = 6
    participation: Share = 0.1
    chase: Chase = Chase()
    profile: Annotated[tuple[float, ...], AfterValidator(_weights)] = ()


class Store(Section):
    """The store. `lease` is the time after which this daemon's lease on its account expires unless it is renewed.

    `keep_days` and the other keys in days are retention times of `quantd store compact`: older journal rows are moved
    to archives, older rows of read models are deleted. Without a value all rows remain. `backups` is the folder of
    scheduled backups (empty: `backups` in the state folder), and `keep_backups` is how many are kept. `replicas` is the
    number of instances that are started with this configuration: the one that has the lease trades. More than one needs
    PostgreSQL.
    """

    url: Url = ""
    lease_ns: Annotated[int, duration("3s", "10m"), Written()] = Field(default=15 * 10**9, alias="lease")
    keep_days: Annotated[float, bounds(0, 36_500)] = 30.0
    archives: str = ""
    alerts_days: Days | None = None
    equity_days: Days | None = None
    orders_days: Days | None = None
    backups: str = ""
    keep_backups: Annotated[int, bounds(1, 10_000)] = 14
    replicas: Annotated[int, bounds(1, 64)] = 1


class ApiRate(Section):
    """The most requests of a token or an address: `reads` and `posts` in a second, and their bursts at once.

    `reads_burst` and `posts_burst` are the requests permitted at once, `proposals` the most proposals of a token in a
    minute.
    """

    reads: Annotated[float, bounds(0.1, 10_000)] = 50.0
    reads_burst: Annotated[int, bounds(1, 100_000)] = 200
    posts: Annotated[float, bounds(0.1, 10_000)] = 10.0
    posts_burst: Annotated[int, bounds(1, 100_000)] = 20
    proposals: Annotated[int, bounds(1, 6_000)] = 30


ORIGIN = r"https://[a-z0-9.-]+(:\d{1,5})?|http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
Origin = Annotated[str, pattern(ORIGIN, 'an origin in lower case: "https://host" or "https://host:8443"')]
HostName = Annotated[str, pattern(r"[a-z0-9._-]{1,253}", "a host name in lower case, without a port")]


class Api(Section):
    """The HTTP API and the dashboard: address, TLS, open reads, rates and tokens."""

    host: Host = "127.0.0.1"
    port: Port = 8000
    halt_port: Port | None = None
    tls: ServerTls | None = None
    open_reads: bool = True
    names: tuple[HostName, ...] = ()
    rate: ApiRate = ApiRate()
    cors: tuple[Origin, ...] = ()
    tokens: Annotated[str, pattern(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", "the name of a file in the state folder")] = (
        "token"
    )

    @property
    def door(self) -> int:
        """The port for halts alone: 1000 above `port`, or below it near the end, unless `halt_port` names another."""
        if self.halt_port is not None or not self.port:
            return self.halt_port or 0
        return self.port + 1000 if self.port < 64_536 else self.port - 1000


class GatewayTable(Section):
    """A listener for trading programs, at 127.0.0.1: its API, its port, and the source of its market data: the bars of
    the run, or with "pass" the vendor's own data under quantd's key."""

    kind: Literal["alpaca"] = "alpaca"
    port: Port = 8010
    data: Literal["feed", "pass"] = "feed"


class Models(Section):
    """Trained artifacts. `trusted_keys` are files of public keys.

    With at least one key, each artifact that trades needs a valid signature.
    """

    trusted_keys: tuple[str, ...] = ()


class Log(Section):
    """The level and the format of the daemon's log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Study(Section):
    """The comparison in a report of a backtest (docs/research/reports.md). It changes no trade.

    A benchmark is a symbol, a registered policy or a mix. `goals` maps a metric, or "metric/benchmark" for the ratio to
    a benchmark, to a number.
    """

    benchmarks: Annotated[tuple[str, ...], distinct()] = ("equal_weight",)
    goals: dict[str, float] = {}


class Document(Section):
    """All tables of config.toml."""

    # built later: only the subclass that `document_of` makes, with the keys of limits, is ever validated
    model_config = ConfigDict(defer_build=True)

    quantd: Quantd = Quantd()
    universe: UniverseTable
    feed: Feed = Feed()
    broker: Broker
    account: Account = Account()
    risk: Risk = Risk()
    execution: ExecutionTable = ExecutionTable()
    agents: tuple[Agent, ...]
    manual: Manual | None = None
    portfolios: Portfolios | None = None
    approvals: Approvals = Approvals()
    live: Live = Live()
    capital: CapitalTable | None = None
    promotion: PromotionTable = PromotionTable()
    retrain: RetrainTable = RetrainTable()
    study: Study = Study()
    schedules: tuple[Schedule, ...] = ()
    bus: Bus = Bus()
    store: Store = Store()
    api: Api = Api()
    gateway: GatewayTable | None = None
    alerts: Alerts = Alerts()
    models: Models = Models()
    log: Log = Log()

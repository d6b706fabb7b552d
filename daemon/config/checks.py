"""Checks across tables: names that must agree, and sections that contradict each other.

The checks read the raw document, so that they also run when a table has other mistakes.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields as struct_fields

from quantd.daemon.config.agent_checks import (
    agents_of_jobs,
    check_agents,
    check_capital,
    check_schedules,
    check_shadows,
    check_shares,
    tables_of_jobs,
)
from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.config.alarm_bounds import alarm_of
from quantd.daemon.config.known import (
    LIMITS,
    MIN_HISTORY,
    SHOCKS,
    Known,
    Table,
    limit_tables,
    mistakes_of,
    names_of,
    table_of,
    tables,
    values_at,
)
from quantd.daemon.config.mistakes import Mistake, Source, nearest, shown, suggestion
from quantd.daemon.config.scan import Path
from quantd.daemon.config.translate import secrets_in
from quantd.daemon.config.values import BOND, EQUITY, HIGHEST_MULTIPLE, duration_ns, mix_of
from quantd.trading.execution import MOST
from quantd.trading.instruments import MICRO, NANO, usual_lot_nano

MAY_BE_EMPTY = ("broker.differences", "agents.*.challenges", "agents.*.approval")
"""References to names that may be empty: the key then has no effect."""

DISTINCT = (
    ("agents", "name", None),
    ("schedules", "name", None),
    ("universe.instruments", "symbol", None),
    ("universe.groups", "name", None),
    ("risk.shocks", "name", None),
    ("risk.shocks.*.moves", "of", None),
    ("capital.regimes", "above", 0.0),
    ("capital.regimes.*.shares", "agent", None),
)
"""(List of tables, key whose values must differ within the list, default of the key)."""

NOT_EMPTY = {
    "agents": "write [[agents]] with name, policy and capital",
    "risk.shocks.*.moves": 'write moves = [{ of = "*", by = -0.2 }]',
    "capital.regimes.*.shares": 'write shares = [{ agent = "name", share = 1.0 }]',
    **{f"{home}.stress.scenarios": f"name one or more of {', '.join(SHOCKS)}" for home in LIMITS},
}
"""List that may not be empty -> remedy."""

MEANS_ALL = {
    "schedules.*.agents": "name agents, or remove it for all agents; enabled = false switches the schedule off",
    "alerts.quiet_levels": "name INFO or WARNING, or remove quiet_hours",
}
"""List without which all are meant, or a default: an empty one chooses nothing -> remedy."""


APPLIES_TO = (
    (
        "agents.*.rebalance", "when", "always",
        {
            "every": ("calendar",), "drift": ("threshold",), "risk_drift": ("threshold",),
            **dict.fromkeys(("events", "wait", "short", "volatility_ratio", "correlation_change"), ("event",)),
        },
    ),
    ("agents.*.sizing", "kelly", None, dict.fromkeys(("kelly_method", "kelly_lookback", "risk_free"), ())),
    ("agents.*.sizing", "volatility_target", None, {"volatility_lookback": ()}),
    ("agents.*.sizing", "risk_budget", None, {"risk_lookback": ()}),
    (
        "execution", "style", "marketable",
        {
            "over": ("twap", "vwap"), "slices": ("twap", "vwap"), "profile": ("vwap",), "chase": ("chase",),
            "participation": ("participation",),
        },
    ),
    (
        "capital", "method", "fixed",
        {"tilt": ("performance",), "volatility_of": ("regime",), "regimes": ("regime",)},
    ),
    ("alerts", "quiet_hours", None, {"quiet_levels": (), "timezone": ()}),
    ("alerts", "escalate", None, {"escalate_after": ()}),
)  # fmt: skip
"""(Table, key that decides, its default, key without effect beside other values -> these values; () is any value)."""

_AMOUNT = re.compile(r"\d{1,20}(\.\d{1,9})?")


def check(document: Table, registry: Known, source: Source, *, started: bool) -> list[Mistake]:
    """Return every mistake of a configuration that spans several tables; a run may have `started` with it."""
    rules = (
        _references, _scheduled, _repetitions, _empty_lists, check_agents, check_shares, check_schedules, _feed,
        _profiles, _benchmark, _account, _amounts, _bus, _sinks, _lookbacks, _execution, check_capital, check_shadows,
        _stops_at_venue, _study, _store, _gateway, _alarms,
        *(() if started else (_applied, _chooses_nothing, agents_of_jobs, tables_of_jobs)),
    )  # fmt: skip
    return [mistake for rule in rules for mistake in rule(document, registry, source)]


def _references(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about undefined names, which are neither in another table nor in another package."""
    agents = names_of(document)
    symbols, groups, shocks = (
        tuple(value for _, value in values_at(document, dotted) if isinstance(value, str))
        for dotted in ("universe.symbols.*", "universe.groups.*.name", "risk.shocks.*.name")
    )
    symbol_keys = ("universe.instruments.*.symbol", "universe.groups.*.symbols.*")
    manual_book = (MANUAL,) if "manual" in document else ()
    calendars = ("universe.calendar", "universe.instruments.*.calendar", "schedules.*.calendar")
    # (kind of name, valid names, dotted keys that refer to one); a key in MAY_BE_EMPTY may also name nothing
    for kind, names, places in (
        ("calendar", registry.calendars, calendars),
        ("symbol", symbols, (*symbol_keys, *(f"{section}.restricted.*" for section in LIMITS)) if symbols else ()),
        ("scenario", (*SHOCKS, *shocks), [f"{section}.stress.scenarios.*" for section in LIMITS]),
        ("group", groups, [f"{section}.group_caps.*.group" for section in LIMITS]),
        ("feed", registry.feeds, ("feed.kind", "feed.fallback.*")),
        ("broker", registry.brokers, ("broker.kind",)),
        ("job", registry.jobs, ("schedules.*.do",)),
        ("profile", registry.profiles, ("risk.profile", "manual.profile", "portfolios.profile", "agents.*.profile")),
        # "fence" leaves a difference to no agent
        ("agent", ("fence", *agents, *manual_book), ("broker.differences",)),
        ("agent that trades", names_of(document, shadows=False), ("capital.regimes.*.shares.*.agent", MAY_BE_EMPTY[1])),
    ):
        for dotted in places:
            for path, value in values_at(document, dotted):
                if isinstance(value, str) and value not in names and (value or dotted not in MAY_BE_EMPTY):
                    yield source.mistake(path, f"= {shown(value)} is not a known {kind}", suggestion(value, names))


def _alarms(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about alarms of a symbol that is not in the universe."""
    symbols = [value for _, value in values_at(document, "universe.symbols.*") if isinstance(value, str)]
    for path, text in values_at(document, "alerts.alarms.*"):
        alarm = alarm_of(text) if isinstance(text, str) else None
        if alarm is not None and alarm.symbol and symbols and alarm.symbol not in symbols:
            remedy = suggestion(alarm.symbol, symbols)
            yield source.mistake(path, f"= {shown(text)} is of {alarm.symbol}, which is not a known symbol", remedy)


def _scheduled(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield one mistake for all schedules that name an agent which does not exist."""
    agents = names_of(document)
    unknown = [
        (path, name)
        for path, name in values_at(document, "schedules.*.agents.*")
        if isinstance(name, str) and name not in agents
    ]
    if not unknown:
        return
    (first_path, first), *others = unknown
    text, remedy = f"= {shown(first)} is not a known agent", suggestion(first, agents)
    if others:
        text += f", nor is {', '.join(f'{shown(name)} (line {source.place(path)[1]})' for path, name in others)}"
    if others or "?" not in remedy:
        known = f"name {' or '.join(agents)}, or " if agents else ""
        remedy = f"{known}remove these [[schedules]]: an agent that no schedule names decides at each sample"
    if "portfolios" in document and "?" not in remedy:
        remedy += "; no schedule decides for a portfolio: `quantd portfolio rebalance` changes its weights"
    yield source.mistake(first_path, text, remedy)


def _repetitions(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about names that two tables of a list share, and about scenarios with the name of a built-in
    one.

    DISTINCT has (list of tables, key that must differ between them, default of the key).
    """
    for dotted, key, default in DISTINCT:
        for list_path, list_value in values_at(document, dotted):
            earlier: list[tuple[Any, Path]] = []
            for k, table in enumerate(list_value if isinstance(list_value, tuple) else ()):
                if not isinstance(table, Mapping):
                    continue
                path = (*list_path, k)
                value = table.get(key, default)
                # compared one by one: a value in a faulty file may not be hashable
                first = next((earlier_path for earlier_value, earlier_path in earlier if earlier_value == value), None)
                if value is not None and first is not None:
                    text = f"= {shown(value)} is already used (line {source.place(first)[1]})"
                    yield source.mistake((*path, key), text, f"give each its own {key}")
                earlier.append((value, path))
    for path, name in values_at(document, "risk.shocks.*.name"):
        if name in SHOCKS:
            yield source.mistake(path, f"= {shown(name)} is a built-in scenario", "give it its own name")


def _chooses_nothing(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about empty lists that would mean all (MEANS_ALL)."""
    yield from _empty_lists(document, registry, source, MEANS_ALL)


def _empty_lists(
    document: Table, registry: Known, source: Source, of: Mapping[str, str] = NOT_EMPTY
) -> Iterator[Mistake]:
    """Yield the mistakes about empty lists in the configuration whose key in `of` needs at least one element."""
    for dotted, remedy in of.items():
        for path, value in values_at(document, dotted):
            if value == ():
                yield source.mistake(path, "is empty", remedy)


def _applied(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about keys that have no effect beside another key of their table (APPLIES_TO).

    When an override sets that other key, the keys of the file are of the value that it replaced, and are ignored.
    """
    for dotted, decides, default, values_of in APPLIES_TO:
        for path, table in tables(document, dotted):
            value, overridden = table.get(decides, default), (*path, decides) in source.overrides
            for key, values in values_of.items():
                if key not in table or (overridden and (*path, key) not in source.overrides):
                    continue
                if value in values or (not values and value is not None):
                    continue
                needs = " or ".join(f"{decides} = {shown(needed)}" for needed in values) or decides
                yield source.mistake((*path, key), f"applies only to {needs}", f"write {needs}, or remove it")


def _feed(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about keys that belong to recorded bars only or to live feeds only, and about the period of a
    replay."""
    feed, fallback = table_of(document, "feed"), [kind for _, kind in values_at(document, "feed.fallback.*")]
    is_replay = feed.get("kind", "replay") == "replay"
    is_venue, is_adjusted = table_of(document, "broker").get("kind", "paper") != "paper", feed.get("adjusted") is True
    path, fallback_path = ("feed", "path"), ("feed", "fallback")
    yield from mistakes_of(
        source,
        (is_replay and not feed.get("path"), path, "is missing", 'a replay needs a file: write path = "bars.parquet"'),
        (is_replay and fallback, fallback_path, "is for live feeds only", "remove it: a replay has no fallback"),
        (
            not is_replay and "replay" in fallback, fallback_path,
            'has "replay", which is not a live feed', "name live feeds only",
        ),
        (
            is_replay and is_venue, ("broker", "kind"),
            "is a venue, but [feed] replays recorded prices", 'write kind = "paper"',
        ),
        (
            is_adjusted and not is_replay, ("feed", "adjusted"),
            "= true is for recorded bars only", "remove it: a live feed has raw prices, and announces its splits",
        ),
        (
            is_adjusted and is_replay and feed.get("actions"), ("feed", "adjusted"),
            "= true with actions, but adjusted prices hold their splits and dividends already",
            "remove [feed] actions, or adjusted",
        ),
    )  # fmt: skip
    macro = [name for _, name in values_at(document, "feed.macro.*.name")]
    for place, name in values_at(document, "feed.series.*.name"):
        if name in macro:
            yield source.mistake(place, f"= {shown(name)} is the name of a macro series", "give each its own name")
    start, end = feed.get("start"), feed.get("end")
    if type(start) is type(end) and start is not None and not isinstance(start, str):
        try:
            ends_early = end < start
        except TypeError:  # values without an order, which the schema reports
            return
        if ends_early:
            yield source.mistake(("feed", "end"), f"= {shown(end)} is before start = {shown(start)}")


def _benchmark(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about a benchmark's file: only a benchmark outside the universe needs one."""
    table, live = table_of(document, "universe"), table_of(document, "feed").get("kind", "replay") != "replay"
    symbols = [value for _, value in values_at(document, "universe.symbols.*") if isinstance(value, str)]
    name, path = table.get("benchmark"), table.get("benchmark_path")
    traded = name in symbols
    close_symbol = nearest(str(name), symbols)
    yield from mistakes_of(
        source,
        (
            name and symbols and not traded and live and not path, ("universe", "benchmark"),
            f"= {shown(name)} is not one of [universe] symbols, and a live feed has bars of these only",
            f"{f'did you mean {close_symbol}? Else ' if close_symbol else ''}write benchmark_path, a file of its bars",
        ),
        (
            path and not name, ("universe", "benchmark_path"),
            "is the file of a benchmark, and none is set", 'write benchmark = "^GSPC", or remove it',
        ),
        (
            path and name and traded, ("universe", "benchmark_path"),
            f"is the file of a benchmark outside the universe, and {shown(name)} is one of [universe] symbols",
            "remove it: the bars of the feed are used",
        ),
    )  # fmt: skip


def _account(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistake of an interest rate for an account at a venue, which books interest itself."""
    rate, venue = table_of(document, "account").get("cash_rate"), table_of(document, "broker").get("kind", "paper")
    text = f"= {shown(rate)} with [broker] kind = {shown(venue)}, but this venue pays interest itself"
    remedy = "remove it: the venue's interest is booked when it is paid"
    yield from mistakes_of(source, (rate is not None and venue != "paper", ("account", "cash_rate"), text, remedy))


def _amounts(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about cash that is too large, and lots that are too small, for the integers of the ledger.

    The largest position is HIGHEST_MULTIPLE times the cash. At a price of 1.00 its lots must stay below MOST, the
    largest integer in ledger and fills. The default lots of recorded bars follow from their prices.
    """
    cash_path, text = ("broker", "cash"), table_of(document, "broker").get("cash")
    largest_value = _decimal(text) * HIGHEST_MULTIPLE
    if MOST < largest_value * MICRO <= MOST * HIGHEST_MULTIPLE:  # more than MOST is no amount of money at all
        remedy = f'write "{MOST // MICRO // HIGHEST_MULTIPLE}" at most'
        yield source.mistake(
            cash_path, f"= {shown(text)} is more than the ledger can hold {HIGHEST_MULTIPLE} times", remedy
        )
        return
    smallest_lot = largest_value * NANO / MOST  # in nano-units
    instruments = tables(document, "universe.instruments.*")
    lot_paths = {
        symbol: (*path, "lot") for path, table in instruments if isinstance(symbol := table.get("symbol"), str)
    }
    for path, symbol in values_at(document, "universe.symbols.*"):
        if not isinstance(symbol, str):
            continue  # another check reports it
        lot_path = lot_paths.get(symbol, path)
        lot = next(
            (
                written_lot
                for key_path, written_lot in values_at(document, "universe.instruments.*.lot")
                if key_path == lot_path
            ),
            None,
        )
        if lot is None and table_of(document, "feed").get("kind", "replay") == "replay":
            continue
        size = _decimal(lot) if lot is not None else Decimal(usual_lot_nano(str(symbol))) / NANO
        if 0 < size * NANO < smallest_lot:
            text = f"= {shown(symbol if lot is None else lot)}: a lot of {size:f} is so small that"
            next_power = Decimal(1).scaleb((smallest_lot / NANO).adjusted() + 1)
            remedy = f'write [[universe.instruments]] lot = "{next_power:f}" or more'
            yield source.mistake(path if lot is None else lot_path, f"{text} the ledger cannot count the lots", remedy)


def _decimal(value: Any) -> Decimal:
    """Return the number in a valid amount; 0 for any other value, which its own check reports."""
    return Decimal(value) if isinstance(value, (str, int)) and _AMOUNT.fullmatch(str(value)) else Decimal(0)


def _profiles(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about risk profiles and the mode that do not fit broker or feed."""
    quantd, broker, feed = (table_of(document, name) for name in ("quantd", "broker", "feed"))
    mode, is_paper = quantd.get("mode", "paper"), broker.get("kind", "paper") == "paper"
    is_replay = feed.get("kind", "replay") == "replay"
    for dotted in ("risk.profile", "manual.profile", "portfolios.profile", "agents.*.profile"):
        for path, profile in values_at(document, dotted):
            if profile == "research" and (mode == "live" or not is_paper):
                remedy = "use it with the paper broker only, or choose another profile"
                yield source.mistake(path, '= "research" has no portfolio limits', remedy)
    key = ("quantd", "mode")
    yield from mistakes_of(
        source,
        (
            mode == "live" and is_paper, key,
            '= "live" needs a venue, but [broker] kind = "paper"', 'write [broker] kind = "alpaca" or "ccxt"',
        ),
        (
            mode in ("live", "shadow") and is_replay, key,
            f'= "{mode}" needs a live feed, but [feed] kind = "replay"', "name a live feed",
        ),
        (mode == "shadow" and not is_paper, key, '= "shadow" only simulates orders', 'write [broker] kind = "paper"'),
    )  # fmt: skip


def _store(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistake of [store] replicas above 1 without a common database."""
    store = table_of(document, "store")
    replicas, url = store.get("replicas", 1), store.get("url") or ""
    unshared = isinstance(replicas, int) and replicas > 1 and not str(url).startswith("postgresql")
    text = f"= {shown(replicas)}, but each replica would trade from its own SQLite file, without knowing of the others"
    remedy = 'write [store] url = "postgresql://user@host/database", or start one instance with replicas = 1'
    yield from mistakes_of(source, (unshared, ("store", "replicas"), text, remedy))


def _gateway(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistake of a replay whose programs would read the vendor's data, which are of its future."""
    if table_of(document, "gateway").get("data") == "pass" and table_of(document, "feed").get("kind") in (
        None,
        "replay",
    ):
        text = '= "pass" reads prices of today, and a replay stands in the past: a program would see the future'
        yield source.mistake(("gateway", "data"), text, 'write data = "feed", or a [feed] kind of live prices')


def _bus(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about keys of [bus] that its kind needs or does not know, and about incomplete TLS tables."""
    bus = table_of(document, "bus")
    mqtt = bus.get("kind", "embedded") == "mqtt"
    if mqtt and not bus.get("url"):
        yield source.mistake(("bus", "url"), "is missing", 'write url = "mqtt://host:1883"')
    kind_overridden = ("bus", "kind") in source.overrides
    other_kind = "embedded" if mqtt else "mqtt"
    for key in ("host", "port") if mqtt else ("url", "protocol"):
        # when an override sets the kind, the file's keys of the other kind are ignored
        if bus.get(key) and not (kind_overridden and ("bus", key) not in source.overrides):
            remedy = f'write kind = "{other_kind}" or remove it'
            yield source.mistake(("bus", key), f'applies only to kind = "{other_kind}"', remedy)
    for name in ("api",) if mqtt else ("api", "bus"):
        for path, tls in tables(document, f"{name}.tls"):
            for key in ("certificate", "key"):
                if not tls.get(key):
                    yield source.mistake((*path, key), "is missing", "write both certificate and key")
    if not mqtt and table_of(bus, "tls").get("ca"):
        remedy = "remove it: the embedded broker does not check client certificates"
        yield source.mistake(("bus", "tls", "ca"), 'applies only to kind = "mqtt"', remedy)


def _sinks(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about unknown sinks of alerts, and about their keys.

    `registry.selection` has the keys that every sink has, `registry.sinks` those of one sink.
    """
    alerts = table_of(document, "alerts")
    for name in alerts.get("escalate") or ():
        if name not in [*table_of(alerts, "sinks")]:  # a list: a wrong type may have no hash
            remedy = f"configure [alerts.sinks.{name}], or remove it"
            yield source.mistake(("alerts", "escalate"), f"names {name}, which is not a configured sink", remedy)
    for kind, table in table_of(alerts, "sinks").items():
        path = ("alerts", "sinks", str(kind))
        options = registry.sinks.get(kind)
        if options is None:
            yield source.mistake(path, "is not a known sink", suggestion(kind, tuple(registry.sinks)))
        elif isinstance(table, Mapping):
            common_names = {field.encode_name for field in struct_fields(registry.selection)}
            shared = {key: value for key, value in table.items() if key in common_names}
            sink_options = {key: value for key, value in table.items() if key not in common_names}
            yield from _options(shared, registry.selection, path, source)
            yield from _options(sink_options, options, path, source, tuple(sorted(common_names)))


def _options(
    table: Table, options: type[Struct], path: Path, source: Source, common: tuple[str, ...] = ()
) -> Iterator[Mistake]:
    """Yield the mistakes of a table whose keys are the fields of the struct `options`, which another package defines.

    `common` are further keys of the table, which are checked elsewhere.
    """
    if mistakes := secrets_in(table, path, source):
        yield from mistakes
        return
    fields = {field.encode_name: field for field in struct_fields(options)}
    for key in table.keys() - fields.keys():
        yield source.mistake((*path, key), f"is not a key of {path[-1]}", suggestion(key, (*fields, *common)))
    missing_keys = [key for key, field in fields.items() if field.required and key not in table]
    for key in missing_keys:
        yield source.mistake(path, f"has no {key}", f"write {key} = ...")
    try:
        if not missing_keys:
            msgspec.convert(dict(table), options)
    except msgspec.ValidationError as error:
        # "KEY REASON; REMEDY" by the struct itself, or "REASON - at $.KEY" by msgspec for a type or a bound
        text, _, place = str(error).replace("`", "").partition(" - at $.")
        text, _, remedy = text.partition("; ")
        key, _, reason = text.partition(" ")
        if place:  # a type or a bound
            key, reason = place.partition(".")[0].partition("[")[0], f"is refused: {text[0].lower()}{text[1:]}"
        if key in fields:
            yield source.mistake((*path, key), f"= {shown(table.get(key, ''))} {reason}", remedy)
        else:
            yield source.mistake(path, f"is refused: {text}", remedy)


def _execution(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about styles that work orders over time: child orders are sent at bars, so bars must be short
    enough.

    Bars of a day are too long for each of these styles. Slices of twap and vwap, and the interval of a chase, must not
    be shorter than a bar.
    """
    table = table_of(document, "execution")
    style = table.get("style", "marketable")
    bar_ns = _duration(table_of(document, "feed").get("interval", "1d"))
    if style not in ("chase", "twap", "vwap", "participation") or bar_ns is None:
        return
    if bar_ns >= duration_ns("1d"):
        text = f"= {shown(style)} works orders within a session, but [feed] interval has one bar a session"
        remedy = 'use intraday bars, interval = "1m", or write style = "marketable", "open" or "close"'
        yield source.mistake(("execution", "style"), text, remedy)
        return
    over_ns, slices = _duration(table.get("over", "30m")), table.get("slices", 6)
    if (
        style in ("twap", "vwap")
        and over_ns is not None
        and type(slices) is int
        and slices > 0
        and over_ns < slices * bar_ns
    ):
        text = f"= {slices} splits over = {shown(table.get('over', '30m'))} into slices shorter than a bar"
        remedy = "write fewer slices, a longer over, or a finer [feed] interval"
        yield source.mistake(("execution", "slices"), text, remedy)
    every_ns = _duration(table_of(table, "chase").get("every", "1m"))
    if style == "chase" and every_ns is not None and every_ns < bar_ns:
        text = f"= {shown(table_of(table, 'chase').get('every', '1m'))} is shorter than a bar"
        yield source.mistake(("execution", "chase", "every"), text, "write a longer one, or a finer [feed] interval")


def _stops_at_venue(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about stop orders at venues that do not support them.

    `stops_at` has the exchanges that support them; a kind of broker without an entry supports them everywhere.
    """
    broker = table_of(document, "broker")
    venues = registry.stops_at.get(str(broker.get("kind")))
    if venues is None or broker.get("venue") in venues:
        return
    for section in LIMITS:
        for path, at_venue in values_at(document, f"{section}.protective.at_venue"):
            if at_venue is True:
                text = f"= true, but stop orders at [broker] venue = {shown(broker.get('venue', ''))} are not supported"
                remedy = f"remove it (the daemon then watches the stops), or trade at {', '.join(venues)}"
                yield source.mistake(path, text, remedy)


def bonds_of(document: Table) -> list[str]:
    """Return the symbols of instruments whose `asset` or `sector` is "bond"."""
    instruments = tables(document, "universe.instruments.*")
    return [str(table.get("symbol")) for _, table in instruments if BOND in (table.get("asset"), table.get("sector"))]


def _study(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes of [study] about benchmarks and goals of reports.

    A benchmark is a symbol, a policy, or a mix of weights. A goal "METRIC/BENCHMARK" is a ratio to a benchmark.
    """
    symbols = tuple(value for _, value in values_at(document, "universe.symbols.*") if isinstance(value, str))
    names = table_of(document, "study").get("benchmarks", ("equal_weight",))
    for path, name in values_at(document, "study.benchmarks.*"):
        if not isinstance(name, str):
            continue  # the schema reports it
        try:
            mix = mix_of(name)
        except ValueError as why:
            yield source.mistake(path, f"= {shown(name)}: {why}", 'write "60/40" or "SPY:0.6,TLT:0.4"')
            continue
        if mix is None and name not in symbols and name not in registry.policies:
            text = f"= {shown(name)} is neither a symbol of [universe] nor a registered policy"
            yield source.mistake(path, text, suggestion(name, (*symbols, *registry.policies)))
        for symbol in mix or ():
            if symbol == BOND and not bonds_of(document):
                remedy = 'write asset = "bond" in its [[universe.instruments]], or name the mix, "SPY:0.6,TLT:0.4"'
                yield source.mistake(path, f"= {shown(name)} needs a bond, and no instrument is one", remedy)
            elif symbol not in (*symbols, EQUITY, BOND):
                text = f"= {shown(name)}: {shown(symbol)} is not a symbol of [universe]"
                yield source.mistake(path, text, suggestion(symbol, symbols))
    for goal in table_of(table_of(document, "study"), "goals"):
        _, slash, benchmark = str(goal).partition("/")
        if slash and isinstance(names, tuple) and benchmark not in names:
            text = f"is a ratio to {shown(benchmark)}, which is not one of the benchmarks"
            yield source.mistake(("study", "goals", goal), text, f"add {shown(benchmark)} to [study] benchmarks")


def _duration(value: Any) -> int | None:
    """Return a duration in ns; None for an invalid one, which the check of its own table reports."""
    try:
        return duration_ns(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _lookbacks(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about lookbacks of limits that are shorter than the history which the limit needs."""
    for home, limits in limit_tables(document):
        min_history = limits.get("min_history", MIN_HISTORY)
        for dotted in ("var.lookback", "cvar.lookback", "correlation.lookback", "volatility_lookback"):
            for path, value in values_at(limits, dotted):
                if type(value) is int and type(min_history) is int and 0 < value < min_history:
                    text = f"= {value} is shorter than min_history = {min_history}"
                    yield source.mistake((*home, *path), text, f"write {min_history} or more, or lower min_history")

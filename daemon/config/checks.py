"""Checks across tables: names that must agree, shares that add up, sections that contradict each other.

The checks read the raw document, so that they also run when a table has other mistakes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields as struct_fields

from quantd.daemon.config.agent_checks import check_agents, check_capital, check_schedules, check_shadows, check_shares
from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.config.known import (
    MIN_HISTORY,
    SHOCKS,
    Known,
    limit_tables,
    table_of,
    tables,
    texts_in,
    unknown_member,
)
from quantd.daemon.config.mistakes import Mistake, Source, shown, suggestion
from quantd.daemon.config.scan import Path
from quantd.daemon.config.translate import secrets_in
from quantd.daemon.config.values import duration_ns


def check(document: Mapping[str, Any], known: Known, source: Source) -> list[Mistake]:
    """Every mistake that spans tables."""
    return [
        found
        for rule in (
            check_agents,
            check_shares,
            check_schedules,
            _universe,
            _feed,
            _profiles,
            _differences,
            _account,
            _bus,
            _sinks,
            _lookbacks,
            _execution,
            check_capital,
            check_shadows,
            _at_venue,
        )
        for found in rule(document, known, source)
    ]


def _universe(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    universe = table_of(document, "universe")
    symbols = texts_in(universe.get("symbols"))
    yield from unknown_member(source, ("universe", "calendar"), universe.get("calendar"), known.calendars, "calendar")
    if not symbols:
        return
    if universe.get("benchmark"):
        yield from unknown_member(source, ("universe", "benchmark"), universe["benchmark"], symbols, "symbol")
    seen: Counter[Any] = Counter()
    for path, instrument in tables(document, "universe", "instruments"):
        name = instrument.get("symbol")
        yield from unknown_member(source, (*path, "symbol"), name, symbols, "symbol")
        yield from unknown_member(source, (*path, "calendar"), instrument.get("calendar"), known.calendars, "calendar")
        if isinstance(name, str) and seen[name]:
            yield source.mistake((*path, "symbol"), f'= "{name}" has two tables', "keep one")
        seen[name] += 1
    groups = tuple(str(group.get("name")) for _, group in tables(document, "universe", "groups"))
    for path, group in tables(document, "universe", "groups"):
        if groups.count(str(group.get("name"))) > 1:
            yield source.mistake((*path, "name"), f"= {shown(group.get('name'))} names two groups", "keep one")
        for k, name in enumerate(texts_in(group.get("symbols"))):
            yield from unknown_member(source, (*path, "symbols", k), name, symbols, "symbol")
    shocks = [str(shock.get("name")) for _, shock in tables(document, "risk", "shocks")]
    for path, shock in tables(document, "risk", "shocks"):
        if shocks.count(str(shock.get("name"))) > 1 or shock.get("name") in SHOCKS:
            yield source.mistake(
                (*path, "name"), f"= {shown(shock.get('name'))} is already used", "give it its own name"
            )
        if shock.get("moves") == ():
            yield source.mistake((*path, "moves"), "is empty", 'write moves = [{ of = "*", by = -0.2 }]')
        seen_moves: set[Any] = set()
        for inner, move in tables(shock, "moves"):
            if move.get("of") in seen_moves:
                yield source.mistake((*path, *inner, "of"), f"= {shown(move.get('of'))} has two moves", "keep one")
            seen_moves.add(move.get("of"))
    for path, table in limit_tables(document):
        stress = table_of(table, "stress")
        for k, name in enumerate(texts_in(stress.get("scenarios"))):
            yield from unknown_member(source, (*path, "stress", "scenarios", k), name, (*SHOCKS, *shocks), "scenario")
        if stress.get("scenarios") == ():
            yield source.mistake((*path, "stress", "scenarios"), "is empty", f"name one or more of {', '.join(SHOCKS)}")
    for path, table in limit_tables(document):
        for inner, cap in tables(table, "group_caps"):
            yield from unknown_member(source, (*path, *inner, "group"), cap.get("group"), groups, "group")
    for path, table in limit_tables(document):  # a misspelled restricted symbol would be a limit without effect
        for k, name in enumerate(texts_in(table.get("restricted"))):
            yield from unknown_member(source, (*path, "restricted", k), name, symbols, "symbol")


def _feed(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    feed = table_of(document, "feed")
    yield from unknown_member(source, ("feed", "kind"), feed.get("kind"), known.feeds, "feed")
    for k, kind in enumerate(texts_in(feed.get("fallback"))):
        yield from unknown_member(source, ("feed", "fallback", k), kind, known.feeds, "feed")
    yield from unknown_member(
        source, ("broker", "kind"), table_of(document, "broker").get("kind"), known.brokers, "broker"
    )
    replay = feed.get("kind", "replay") == "replay"
    if replay and not feed.get("path"):
        yield source.mistake(("feed", "path"), "is missing", 'a replay needs a file: write path = "bars.parquet"')
    if replay and feed.get("fallback"):
        yield source.mistake(("feed", "fallback"), "is for live feeds only", "remove it: a replay has no fallback")
    if "replay" in texts_in(feed.get("fallback")) and not replay:
        yield source.mistake(("feed", "fallback"), 'has "replay", which is not a live feed', "name live feeds only")
    if replay and table_of(document, "broker").get("kind", "paper") != "paper":
        yield source.mistake(
            ("broker", "kind"), "is a venue, but [feed] replays recorded prices", 'write kind = "paper"'
        )
    start, end = feed.get("start"), feed.get("end")
    if type(start) is type(end) and start is not None and not isinstance(start, str):
        try:
            early = end < start
        except TypeError:
            return
        if early:
            yield source.mistake(("feed", "end"), f"= {shown(end)} is before start = {shown(start)}")


def _differences(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    agents = tuple(str(agent.get("name")) for _, agent in tables(document, "agents"))
    value = table_of(document, "broker").get("differences", "")
    if value:
        yield from unknown_member(
            source,
            ("broker", "differences"),
            value,
            ("fence", *agents, *((MANUAL,) if "manual" in document else ())),
            "agent",
        )


def _account(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    rate, venue = table_of(document, "account").get("cash_rate"), table_of(document, "broker").get("kind", "paper")
    if rate is not None and venue != "paper":
        text = f"= {shown(rate)} with [broker] kind = {shown(venue)}, but this venue pays interest itself"
        yield source.mistake(
            ("account", "cash_rate"), text, "remove it: the venue's interest is booked when it is paid"
        )


def _profiles(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    quantd, broker, feed = (table_of(document, name) for name in ("quantd", "broker", "feed"))
    mode, venue = quantd.get("mode", "paper"), broker.get("kind", "paper")
    chosen: list[tuple[Path, Any]] = [(("risk", "profile"), table_of(document, "risk").get("profile"))]
    chosen.append((("manual", "profile"), table_of(document, "manual").get("profile")))
    chosen += [((*path, "profile"), agent.get("profile")) for path, agent in tables(document, "agents")]
    for path, profile in chosen:
        yield from unknown_member(source, path, profile, known.profiles, "profile")
        if profile == "research" and (mode == "live" or venue != "paper"):
            yield source.mistake(
                path,
                '= "research" has no portfolio limits',
                "use it with the paper broker only, or choose another profile",
            )
    if mode == "live" and venue == "paper":
        yield source.mistake(
            ("quantd", "mode"),
            '= "live" needs a venue, but [broker] kind = "paper"',
            'write [broker] kind = "alpaca" or "ccxt"',
        )
    if mode in ("live", "shadow") and feed.get("kind", "replay") == "replay":
        yield source.mistake(
            ("quantd", "mode"), f'= "{mode}" needs a live feed, but [feed] kind = "replay"', "name a live feed"
        )
    if mode == "shadow" and venue != "paper":
        yield source.mistake(("quantd", "mode"), '= "shadow" only simulates orders', 'write [broker] kind = "paper"')


def _bus(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    bus = table_of(document, "bus")
    mqtt = bus.get("kind", "embedded") == "mqtt"
    if mqtt and not bus.get("url"):
        yield source.mistake(("bus", "url"), "is missing", 'write url = "mqtt://host:1883"')
    chosen = ("bus", "kind") in source.overrides
    for key in ("host", "port") if mqtt else ("url", "protocol"):
        # when an override sets the kind, the file's keys of the other kind are ignored
        if bus.get(key) and not (chosen and ("bus", key) not in source.overrides):
            kind = "embedded" if mqtt else "mqtt"
            yield source.mistake(
                ("bus", key), f'applies only to kind = "{kind}"', f'write kind = "{kind}" or remove it'
            )
    served = [("api", table_of(document, "api").get("tls"))] + ([] if mqtt else [("bus", bus.get("tls"))])
    for name, tls in served:
        for key in ("certificate", "key"):
            if isinstance(tls, Mapping) and not tls.get(key):
                yield source.mistake((name, "tls", key), "is missing", "write both certificate and key")
    tls = bus.get("tls")
    if not mqtt and isinstance(tls, Mapping) and tls.get("ca"):
        text = 'applies only to kind = "mqtt"'
        yield source.mistake(
            ("bus", "tls", "ca"), text, "remove it: the embedded broker does not check client certificates"
        )


def _sinks(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    tables = table_of(document, "alerts").get("sinks")
    for kind, table in tables.items() if isinstance(tables, Mapping) else ():
        path = ("alerts", "sinks", str(kind))
        options = known.sinks.get(kind)
        if options is None:
            yield source.mistake(path, "is not a known sink", suggestion(kind, tuple(known.sinks)))
        elif isinstance(table, Mapping):
            yield from _options(table, options, path, source)


def _options(table: Mapping[str, Any], options: type[Struct], path: Path, source: Source) -> Iterator[Mistake]:
    """Mistakes of a table that becomes a struct of another package."""
    if mistakes := secrets_in(table, path, source):
        yield from mistakes
        return
    fields = {each.encode_name: each for each in struct_fields(options)}
    for key in table.keys() - fields.keys():
        yield source.mistake((*path, key), f"is not a key of {path[-1]}", suggestion(key, tuple(fields)))
    missing = [key for key, each in fields.items() if each.required and key not in table]
    for key in missing:
        yield source.mistake(path, f"has no {key}", f"write {key} = ...")
    try:
        if not missing:
            msgspec.convert(dict(table), options)
    except msgspec.ValidationError as error:
        text, _, place = str(error).replace("`", "").partition(" - at $.")
        text, _, remedy = text.partition("; ")
        key, _, rest = text.partition(" ")
        if place:  # a type or a bound
            key, rest = place.partition(".")[0].partition("[")[0], f"is refused: {text[0].lower()}{text[1:]}"
        if key in fields:
            yield source.mistake((*path, key), f"= {shown(table.get(key, ''))} {rest}", remedy)
        else:
            yield source.mistake(path, f"is refused: {text}", remedy)


def _execution(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    """Styles that work orders over time need bars shorter than their schedule: child orders go out at bars."""
    table = table_of(document, "execution")
    style = table.get("style", "marketable")
    bar = _duration(table_of(document, "feed").get("interval", "1d"))
    if style not in ("chase", "twap", "vwap", "participation") or bar is None:
        return
    if bar >= duration_ns("1d"):
        text = f"= {shown(style)} works orders within a session, but [feed] interval has one bar a session"
        remedy = 'use intraday bars, interval = "1m", or write style = "marketable", "open" or "close"'
        yield source.mistake(("execution", "style"), text, remedy)
        return
    over, slices = _duration(table.get("over", "30m")), table.get("slices", 6)
    if style in ("twap", "vwap") and over is not None and type(slices) is int and slices > 0 and over < slices * bar:
        text = f"= {slices} splits over = {shown(table.get('over', '30m'))} into slices shorter than a bar"
        yield source.mistake(
            ("execution", "slices"), text, "write fewer slices, a longer over, or a finer [feed] interval"
        )
    every = _duration(table_of(table, "chase").get("every", "1m"))
    if style == "chase" and every is not None and every < bar:
        text = f"= {shown(table_of(table, 'chase').get('every', '1m'))} is shorter than a bar"
        yield source.mistake(("execution", "chase", "every"), text, "write a longer one, or a finer [feed] interval")


def _at_venue(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    """Mistakes about stop orders at venues that do not support them."""
    broker = table_of(document, "broker")
    venues = known.stops_at.get(str(broker.get("kind")))
    if venues is None or broker.get("venue") in venues:
        return
    for path, table in limit_tables(document):
        if table_of(table, "protective").get("at_venue") is True:
            text = f"= true, but stop orders at [broker] venue = {shown(broker.get('venue', ''))} are not supported"
            remedy = f"remove it (the daemon then watches the stops), or trade at {', '.join(venues)}"
            yield source.mistake((*path, "protective", "at_venue"), text, remedy)


def _duration(value: Any) -> int | None:
    """A duration in ns; None when it is invalid, which its own table reports."""
    try:
        return duration_ns(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _lookbacks(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    for path, table in limit_tables(document):
        least = table.get("min_history", MIN_HISTORY)
        for at in (("var", "lookback"), ("cvar", "lookback"), ("correlation", "lookback"), ("volatility_lookback",)):
            value: Any = table
            for part in at:
                value = value.get(part) if isinstance(value, Mapping) else None
            if type(value) is int and type(least) is int and 0 < value < least:
                text = f"= {value} is shorter than min_history = {least}"
                yield source.mistake((*path, *at), text, f"write {least} or more, or lower min_history")

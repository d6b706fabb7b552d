"""Checks across tables: names that must agree, shares that add up, sections that contradict each other.

The checks read the raw document, so that they also run when a table has other mistakes.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from quantd.daemon.config.limit_keys import LimitKey
from quantd.daemon.config.mistakes import Mistake, Source, shown, suggestion
from quantd.daemon.config.scan import Path
from quantd.daemon.config.schema import MANUAL
from quantd.daemon.config.translate import secrets_in
from quantd.daemon.config.values import duration_ns

RESERVED = frozenset({"house", MANUAL, "unallocated"})
"""Names of books, which no agent may have."""

MIN_HISTORY = 60
"""Default of `min_history`, as in `quantd.risk.limits.catalogue`."""

PROFILES = ("conservative", "balanced", "aggressive", "research")

SHOCKS = ("2008", "2020", "2022", "rates+200bp")
"""Built-in stress scenarios, as in `quantd.risk.measures.stress`."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names that other packages of quantd define.

    Registered policies with the parameters of some, calendars, risk profiles, kinds of feeds and brokers, and secrets with
    their meaning. `stops_at` has the exchanges where stops may rest, by kind of broker; a kind without an entry takes
    stops everywhere.
    """

    policies: tuple[str, ...]
    calendars: tuple[str, ...]
    profiles: tuple[str, ...] = PROFILES
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    feeds: tuple[str, ...] = ("replay",)
    brokers: tuple[str, ...] = ("paper",)
    stops_at: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[LimitKey, ...] = ()


def check(document: Mapping[str, Any], known: Known, source: Source) -> list[Mistake]:
    """Every mistake that spans tables."""
    return [
        found
        for rule in (
            _agents,
            _shares,
            _schedules,
            _universe,
            _feed,
            _profiles,
            _differences,
            _account,
            _bus,
            _lookbacks,
            _execution,
            _capital,
            _shadows,
            _at_venue,
        )
        for found in rule(document, known, source)
    ]


def tables(document: Mapping[str, Any], *path: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """(path, table) of each well-formed element of a list of tables."""
    value: Any = document
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, tuple):
        for k, element in enumerate(value):
            if isinstance(element, Mapping):
                yield (*path, k), element


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _limits(document: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The tables of limits: the house's, each agent's and the book `manual`'s."""
    yield ("risk",), _table(document, "risk")
    for path, agent in tables(document, "agents"):
        yield (*path, "limits"), _table(agent, "limits")
    yield ("manual", "limits"), _table(_table(document, "manual"), "limits")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, tuple) else ()


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _twice(document: Mapping[str, Any], source: Source, section: str) -> Iterator[Mistake]:
    seen: dict[str, Path] = {}
    for path, table in tables(document, section):
        name = table.get("name")
        if isinstance(name, str):
            if name in seen:
                where = source.place(seen[name])[1]
                yield source.mistake(
                    (*path, "name"), f'= "{name}" is already used (line {where})', "give each its own name"
                )
            seen.setdefault(name, path)


def _member(source: Source, path: Path, value: Any, names: tuple[str, ...], what: str) -> Iterator[Mistake]:
    if isinstance(value, str) and value not in names:
        yield source.mistake(path, f"= {shown(value)} is not a known {what}", suggestion(value, names))


def _agents(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    if document.get("agents") == ():
        yield source.mistake(("agents",), "is empty", "write [[agents]] with name, policy and capital")
    yield from _twice(document, source, "agents")
    for path, agent in tables(document, "agents"):
        name, policy, params = agent.get("name"), agent.get("policy"), agent.get("params")
        if name in RESERVED:
            yield source.mistake(
                (*path, "name"), f'= "{name}" is reserved for a book of the house', "choose another name"
            )
        yield from secrets_in(params, (*path, "params"), source)
        if not isinstance(policy, str):
            continue
        if ":" in policy or policy.endswith(".py"):
            if not re.fullmatch(r"[^:]+\.py(:[A-Za-z_]\w*)?", policy):
                yield source.mistake(
                    (*path, "policy"), f"= {shown(policy)} names no function", 'write "my_policy.py:act"'
                )
        elif "/" not in policy:
            yield from _member(source, (*path, "policy"), policy, known.policies, "policy")
            if isinstance(params, Mapping) and policy in known.parameters:
                names = known.parameters[policy]
                for key in params:
                    if key not in names:
                        yield source.mistake(
                            (*path, "params", key), f"is not a parameter of {policy}", suggestion(key, names)
                        )


def _shares(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    shares = {
        str(agent.get("name", f"number {k + 1}")): Fraction(str(agent["capital"]))
        for k, (_, agent) in enumerate(tables(document, "agents"))
        if _number(agent.get("capital")) and agent.get("shadow") is not True
    }
    paths = [path for path, agent in tables(document, "agents") if "capital" in agent]
    if _number(by_hand := _table(document, "manual").get("capital")):
        shares[MANUAL] = Fraction(str(by_hand))
        paths.append(("manual",))
    total = sum(shares.values())
    if total > 1:
        file, line = source.place((*paths[-1], "capital"))
        each = ", ".join(f"{name} {float(share):g}" for name, share in shares.items())
        text = f"[[agents]] shares add up to {float(total):.2f}"
        yield Mistake(file, line, "agents", text, f"they may add up to 1 at most ({each})")


def _schedules(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    yield from _twice(document, source, "schedules")
    agents = tuple(str(agent.get("name")) for _, agent in tables(document, "agents"))
    for path, schedule in tables(document, "schedules"):
        times = [key for key in ("at", "cron", "every") if key in schedule]
        if len(times) != 1:
            said = f"has {' and '.join(times)}" if times else "has no time"
            yield source.mistake(path, said, "write one of at, cron or every")
        if "on_closed" in schedule and not ("cron" in schedule and schedule.get("do") in ("rebalance", "flatten")):
            text = "applies only to cron with rebalance or flatten; other jobs also run on closed dates"
            yield source.mistake((*path, "on_closed"), text, "remove it")
        yield from _member(source, (*path, "calendar"), schedule.get("calendar"), known.calendars, "calendar")
        for k, name in enumerate(_texts(schedule.get("agents"))):
            yield from _member(source, (*path, "agents", k), name, agents, "agent")


def _capital(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    """Mistakes of [capital]: unknown agents, bounds that no shares can satisfy, and a missing schedule."""
    real = [
        str(agent.get("name"))
        for _, agent in tables(document, "agents")
        if agent.get("shadow") is not True and isinstance(agent.get("name"), str)
    ]
    for path, schedule in tables(document, "schedules"):
        if schedule.get("do") == "reallocate" and "capital" not in document:
            yield source.mistake(
                (*path, "do"),
                '= "reallocate" needs a table [capital], which is missing',
                "write [capital] with a method",
            )
    if "capital" not in document:
        return
    table = _table(document, "capital")
    floor, ceiling = table.get("floor", 0.0), table.get("ceiling", 1.0)
    if _number(floor) and floor * len(real) > 1:
        text = f"= {shown(floor)} for each of {len(real)} agents adds up to more than 1"
        yield source.mistake(("capital", "floor"), text, f"write {1 / len(real):.3g} at most")
    if _number(ceiling) and real and ceiling * len(real) < 1:
        text = f"= {shown(ceiling)} for each of {len(real)} agents adds up to less than 1"
        yield source.mistake(("capital", "ceiling"), text, f"write {1 / len(real):.3g} at least")
    regimes = list(tables(table, "regimes"))
    if table.get("method") == "regime" and not regimes:
        yield source.mistake(
            ("capital", "method"),
            '= "regime" needs at least one regime, and there is none',
            "write [[capital.regimes]]",
        )
    benchmark = _table(document, "universe").get("benchmark")
    if table.get("method") == "regime" and table.get("volatility_of", "benchmark") == "benchmark" and not benchmark:
        text = '= "regime" needs the benchmark\'s volatility, but no benchmark is set'
        yield source.mistake(("capital", "method"), text, 'write [universe] benchmark, or volatility_of = "house"')
    seen: list[Any] = []
    for inner, regime in regimes:
        path = ("capital", *inner)
        if regime.get("above", 0.0) in seen:
            yield source.mistake(
                (*path, "above"), f"= {shown(regime.get('above', 0.0))} is used by two regimes", "keep one"
            )
        seen.append(regime.get("above", 0.0))
        names = [share.get("agent") for _, share in tables(regime, "shares")]
        for at, share in tables(regime, "shares"):
            yield from _member(source, (*path, *at, "agent"), share.get("agent"), tuple(real), "agent that trades")
            if names.count(share.get("agent")) > 1:
                yield source.mistake((*path, *at, "agent"), f"= {shown(share.get('agent'))} is named twice", "keep one")
        if regime.get("shares") == ():
            yield source.mistake((*path, "shares"), "is empty", 'write shares = [{ agent = "name", share = 1.0 }]')


def _retrained(
    path: Path, schedule: Mapping[str, Any], agents: Sequence[tuple[Path, Mapping[str, Any]]], source: Source
) -> Iterator[Mistake]:
    """Only shadows may be retrained: an agent that trades would use a retrained policy untested at the next start."""
    shadows = {
        str(agent.get("name")): _folder(agent.get("policy")) for _, agent in agents if agent.get("shadow") is True
    }
    real = {str(agent.get("name")) for _, agent in agents if agent.get("shadow") is not True}
    named = _texts(schedule.get("agents"))
    remedy = "name a shadow, with shadow = true and challenges"
    if not shadows:
        yield source.mistake((*path, "do"), '= "retrain" needs a shadow, and no agent is one', remedy)
    for k, name in enumerate(named):
        if name in real:
            text = f"= {shown(name)} trades, so it would use the retrained policy without a comparison"
            yield source.mistake((*path, "agents", k), text, remedy)
    again = {shadows[name] for name in (named or shadows) if name in shadows and "/" in shadows[name]}
    for at, agent in agents:
        if str(agent.get("name")) not in real:
            continue
        for key in ("policy", "params"):
            for folder in {_folder(each) for each in _texts_within(agent.get(key))} & again:
                text = f"names {folder}, which a schedule retrains, but this agent is not a shadow"
                yield source.mistake((*at, key), text, f'name one version of it, "{folder}/v20190329-1a2b3c"')


def _no_daily_file(feed: Mapping[str, Any]) -> str:
    """The reason why the feed is unusable for training; empty when it is usable."""
    if feed.get("kind", "replay") != "replay":
        return '= "retrain" needs a file of daily bars, but the feed is live'
    if feed.get("interval_ns", feed.get("interval", "1d")) not in ("1d", 86_400 * 10**9):
        return f'= "retrain" needs daily bars, but [feed] interval = "{feed.get("interval")}"'
    return ""


def _folder(policy: object) -> str:
    """A folder's normalised name."""
    return str(PurePosixPath(str(policy)))


def _texts_within(value: object) -> Iterator[str]:
    """All text in a value and its elements."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts_within(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts_within(each)


def _shadows(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    """Mistakes about shadows: one agent must trade, a challenger is a shadow, its champion trades."""
    agents = list(tables(document, "agents"))
    real = tuple(str(agent.get("name")) for _, agent in agents if agent.get("shadow") is not True)
    if agents and not real:
        yield source.mistake(
            ("agents", 0, "shadow"), "= true for every agent", "at least one agent must trade: remove its shadow = true"
        )
    challenged = False
    for path, agent in agents:
        champion = agent.get("challenges")
        if not champion:
            continue
        challenged = True
        if agent.get("shadow") is not True:
            text = f"= {shown(champion)}, but this agent is not a shadow"
            yield source.mistake((*path, "challenges"), text, "write shadow = true")
        yield from _member(source, (*path, "challenges"), champion, real, "agent that trades")
    for path, schedule in tables(document, "schedules"):
        if schedule.get("do") == "promote" and not challenged:
            text = '= "promote" needs a challenger, and no agent has challenges'
            yield source.mistake((*path, "do"), text, 'write shadow = true and challenges = "name" in [[agents]]')
        if schedule.get("do") == "retrain":
            yield from _retrained(path, schedule, agents, source)
            if not _table(document, "retrain").get("bars") and (text := _no_daily_file(_table(document, "feed"))):
                yield source.mistake((*path, "do"), text, 'name daily bars: [retrain] bars = "FILE.parquet"')
    broker = _table(document, "broker").get("differences", "")
    if broker and any(agent.get("name") == broker and agent.get("shadow") is True for _, agent in agents):
        text = f"= {shown(broker)} is a shadow, which is not part of the account"
        yield source.mistake(("broker", "differences"), text, "name an agent that trades")


def _universe(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    universe = _table(document, "universe")
    symbols = _texts(universe.get("symbols"))
    yield from _member(source, ("universe", "calendar"), universe.get("calendar"), known.calendars, "calendar")
    if not symbols:
        return
    if universe.get("benchmark"):
        yield from _member(source, ("universe", "benchmark"), universe["benchmark"], symbols, "symbol")
    seen: Counter[Any] = Counter()
    for path, instrument in tables(document, "universe", "instruments"):
        name = instrument.get("symbol")
        yield from _member(source, (*path, "symbol"), name, symbols, "symbol")
        yield from _member(source, (*path, "calendar"), instrument.get("calendar"), known.calendars, "calendar")
        if isinstance(name, str) and seen[name]:
            yield source.mistake((*path, "symbol"), f'= "{name}" has two tables', "keep one")
        seen[name] += 1
    groups = tuple(str(group.get("name")) for _, group in tables(document, "universe", "groups"))
    for path, group in tables(document, "universe", "groups"):
        if groups.count(str(group.get("name"))) > 1:
            yield source.mistake((*path, "name"), f"= {shown(group.get('name'))} names two groups", "keep one")
        for k, name in enumerate(_texts(group.get("symbols"))):
            yield from _member(source, (*path, "symbols", k), name, symbols, "symbol")
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
    for path, table in _limits(document):
        stress = _table(table, "stress")
        for k, name in enumerate(_texts(stress.get("scenarios"))):
            yield from _member(source, (*path, "stress", "scenarios", k), name, (*SHOCKS, *shocks), "scenario")
        if stress.get("scenarios") == ():
            yield source.mistake((*path, "stress", "scenarios"), "is empty", f"name one or more of {', '.join(SHOCKS)}")
    for path, table in _limits(document):
        for inner, cap in tables(table, "group_caps"):
            yield from _member(source, (*path, *inner, "group"), cap.get("group"), groups, "group")
    for path, table in _limits(document):  # a misspelled restricted symbol would be a limit without effect
        for k, name in enumerate(_texts(table.get("restricted"))):
            yield from _member(source, (*path, "restricted", k), name, symbols, "symbol")


def _feed(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    feed = _table(document, "feed")
    yield from _member(source, ("feed", "kind"), feed.get("kind"), known.feeds, "feed")
    for k, kind in enumerate(_texts(feed.get("fallback"))):
        yield from _member(source, ("feed", "fallback", k), kind, known.feeds, "feed")
    yield from _member(source, ("broker", "kind"), _table(document, "broker").get("kind"), known.brokers, "broker")
    replay = feed.get("kind", "replay") == "replay"
    if replay and not feed.get("path"):
        yield source.mistake(("feed", "path"), "is missing", 'a replay needs a file: write path = "bars.parquet"')
    if replay and feed.get("fallback"):
        yield source.mistake(("feed", "fallback"), "is for live feeds only", "remove it: a replay has no fallback")
    if "replay" in _texts(feed.get("fallback")) and not replay:
        yield source.mistake(("feed", "fallback"), 'has "replay", which is not a live feed', "name live feeds only")
    if replay and _table(document, "broker").get("kind", "paper") != "paper":
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
    value = _table(document, "broker").get("differences", "")
    if value:
        yield from _member(
            source,
            ("broker", "differences"),
            value,
            ("fence", *agents, *((MANUAL,) if "manual" in document else ())),
            "agent",
        )


def _account(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    rate, venue = _table(document, "account").get("cash_rate"), _table(document, "broker").get("kind", "paper")
    if rate is not None and venue != "paper":
        text = f"= {shown(rate)} with [broker] kind = {shown(venue)}, but this venue pays interest itself"
        yield source.mistake(
            ("account", "cash_rate"), text, "remove it: the venue's interest is booked when it is paid"
        )


def _profiles(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    quantd, broker, feed = (_table(document, name) for name in ("quantd", "broker", "feed"))
    mode, venue = quantd.get("mode", "paper"), broker.get("kind", "paper")
    chosen: list[tuple[Path, Any]] = [(("risk", "profile"), _table(document, "risk").get("profile"))]
    chosen.append((("manual", "profile"), _table(document, "manual").get("profile")))
    chosen += [((*path, "profile"), agent.get("profile")) for path, agent in tables(document, "agents")]
    for path, profile in chosen:
        yield from _member(source, path, profile, known.profiles, "profile")
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
    bus = _table(document, "bus")
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
    served = [("api", _table(document, "api").get("tls"))] + ([] if mqtt else [("bus", bus.get("tls"))])
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


def _execution(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    """Styles that work orders over time need bars shorter than their schedule: child orders go out at bars."""
    table = _table(document, "execution")
    style = table.get("style", "marketable")
    bar = _duration(_table(document, "feed").get("interval", "1d"))
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
    every = _duration(_table(table, "chase").get("every", "1m"))
    if style == "chase" and every is not None and every < bar:
        text = f"= {shown(_table(table, 'chase').get('every', '1m'))} is shorter than a bar"
        yield source.mistake(("execution", "chase", "every"), text, "write a longer one, or a finer [feed] interval")


def _at_venue(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    """Mistakes about stop orders at venues that do not support them."""
    broker = _table(document, "broker")
    venues = known.stops_at.get(str(broker.get("kind")))
    if venues is None or broker.get("venue") in venues:
        return
    for path, table in _limits(document):
        if _table(table, "protective").get("at_venue") is True:
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
    for path, table in _limits(document):
        least = table.get("min_history", MIN_HISTORY)
        for at in (("var", "lookback"), ("cvar", "lookback"), ("correlation", "lookback"), ("volatility_lookback",)):
            value: Any = table
            for part in at:
                value = value.get(part) if isinstance(value, Mapping) else None
            if type(value) is int and type(least) is int and 0 < value < least:
                text = f"= {value} is shorter than min_history = {least}"
                yield source.mistake((*path, *at), text, f"write {least} or more, or lower min_history")

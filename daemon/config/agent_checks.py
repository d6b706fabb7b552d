"""Checks of agents, their capital, their schedules and their shadows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.config.known import Known, is_number, repetitions, table_of, tables, texts_in, unknown_member
from quantd.daemon.config.mistakes import Mistake, Source, shown, suggestion
from quantd.daemon.config.scan import Path
from quantd.daemon.config.translate import secrets_in

RESERVED = frozenset({"house", MANUAL, "unallocated"})
"""Names of books, which no agent may have."""


def check_agents(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    if document.get("agents") == ():
        yield source.mistake(("agents",), "is empty", "write [[agents]] with name, policy and capital")
    yield from repetitions(document, source, "agents")
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
            yield from unknown_member(source, (*path, "policy"), policy, known.policies, "policy")
            if isinstance(params, Mapping) and policy in known.parameters:
                names = known.parameters[policy]
                for key in params:
                    if key not in names:
                        yield source.mistake(
                            (*path, "params", key), f"is not a parameter of {policy}", suggestion(key, names)
                        )


def check_shares(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    shares = {
        str(agent.get("name", f"number {k + 1}")): Fraction(str(agent["capital"]))
        for k, (_, agent) in enumerate(tables(document, "agents"))
        if is_number(agent.get("capital")) and agent.get("shadow") is not True
    }
    paths = [path for path, agent in tables(document, "agents") if "capital" in agent]
    if is_number(by_hand := table_of(document, "manual").get("capital")):
        shares[MANUAL] = Fraction(str(by_hand))
        paths.append(("manual",))
    total = sum(shares.values())
    if total > 1:
        file, line = source.place((*paths[-1], "capital"))
        each = ", ".join(f"{name} {float(share):g}" for name, share in shares.items())
        text = f"[[agents]] shares add up to {float(total):.2f}"
        yield Mistake(file, line, "agents", text, f"they may add up to 1 at most ({each})")


def check_schedules(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
    yield from repetitions(document, source, "schedules")
    agents = tuple(str(agent.get("name")) for _, agent in tables(document, "agents"))
    for path, schedule in tables(document, "schedules"):
        times = [key for key in ("at", "cron", "every") if key in schedule]
        if len(times) != 1:
            said = f"has {' and '.join(times)}" if times else "has no time"
            yield source.mistake(path, said, "write one of at, cron or every")
        if "on_closed" in schedule and not ("cron" in schedule and schedule.get("do") in ("rebalance", "flatten")):
            text = "applies only to cron with rebalance or flatten; other jobs also run on closed dates"
            yield source.mistake((*path, "on_closed"), text, "remove it")
        yield from unknown_member(source, (*path, "calendar"), schedule.get("calendar"), known.calendars, "calendar")
        for k, name in enumerate(texts_in(schedule.get("agents"))):
            yield from unknown_member(source, (*path, "agents", k), name, agents, "agent")


def check_capital(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
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
    table = table_of(document, "capital")
    floor, ceiling = table.get("floor", 0.0), table.get("ceiling", 1.0)
    if is_number(floor) and floor * len(real) > 1:
        text = f"= {shown(floor)} for each of {len(real)} agents adds up to more than 1"
        yield source.mistake(("capital", "floor"), text, f"write {1 / len(real):.3g} at most")
    if is_number(ceiling) and real and ceiling * len(real) < 1:
        text = f"= {shown(ceiling)} for each of {len(real)} agents adds up to less than 1"
        yield source.mistake(("capital", "ceiling"), text, f"write {1 / len(real):.3g} at least")
    regimes = list(tables(table, "regimes"))
    if table.get("method") == "regime" and not regimes:
        yield source.mistake(
            ("capital", "method"),
            '= "regime" needs at least one regime, and there is none',
            "write [[capital.regimes]]",
        )
    benchmark = table_of(document, "universe").get("benchmark")
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
            yield from unknown_member(
                source, (*path, *at, "agent"), share.get("agent"), tuple(real), "agent that trades"
            )
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
    named = texts_in(schedule.get("agents"))
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


def check_shadows(document: Mapping[str, Any], known: Known, source: Source) -> Iterator[Mistake]:
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
        yield from unknown_member(source, (*path, "challenges"), champion, real, "agent that trades")
    for path, schedule in tables(document, "schedules"):
        if schedule.get("do") == "promote" and not challenged:
            text = '= "promote" needs a challenger, and no agent has challenges'
            yield source.mistake((*path, "do"), text, 'write shadow = true and challenges = "name" in [[agents]]')
        if schedule.get("do") == "retrain":
            yield from _retrained(path, schedule, agents, source)
            if not table_of(document, "retrain").get("bars") and (text := _no_daily_file(table_of(document, "feed"))):
                yield source.mistake((*path, "do"), text, 'name daily bars: [retrain] bars = "FILE.parquet"')
    broker = table_of(document, "broker").get("differences", "")
    if broker and any(agent.get("name") == broker and agent.get("shadow") is True for _, agent in agents):
        text = f"= {shown(broker)} is a shadow, which is not part of the account"
        yield source.mistake(("broker", "differences"), text, "name an agent that trades")

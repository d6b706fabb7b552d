"""Checks of agents, their capital, their schedules and their shadows (agents on paper)."""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Final

from quantd.daemon.config.agent_tables import ASKED, EXTERNAL, MANUAL, PLACES, RESERVED, place_name
from quantd.daemon.config.known import (
    ENGINE_JOBS,
    Known,
    Table,
    is_number,
    mistakes_of,
    names_of,
    table_of,
    tables,
    values_at,
)
from quantd.daemon.config.mistakes import Mistake, Source, shown, suggestion
from quantd.daemon.config.scan import Path
from quantd.daemon.config.translate import secrets_in


def check_agents(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about agents: their names, their policies and the policies' parameters."""
    table = table_of(document, "portfolios")
    count = table.get("places", 0)
    places = [place_name(k + 1) for k in range(count)] if isinstance(count, int) and 0 < count <= PLACES else []
    for path, agent in tables(document, "agents.*"):
        name, policy, params = agent.get("name"), agent.get("policy"), agent.get("params")
        if name in (*RESERVED, *places):
            text = f'= "{name}" is reserved for a book of the house'
            yield source.mistake((*path, "name"), text, "choose another name")
        yield from secrets_in(params, (*path, "params"), source)
        if not isinstance(policy, str):
            continue
        if agent.get("reads") and not any(".py" in agent_text for agent_text in (policy, *_texts_within(params))):
            text = "is for policy files, and this agent has none: its policy reads no file"
            yield source.mistake((*path, "reads"), text, "remove it")
        if ":" in policy or policy.endswith(".py"):
            if not re.fullmatch(r"[^:]+\.py(:[A-Za-z_]\w*)?", policy):
                text = f"= {shown(policy)} names no function"
                yield source.mistake((*path, "policy"), text, 'write "my_policy.py:act"')
        elif "/" not in policy:
            if policy not in registry.policies:
                remedy = suggestion(policy, registry.policies)
                if policy.endswith((".csv", ".parquet")):
                    call = f"quantd.backtest(polars.read_{policy.rpartition('.')[2]}({policy!r}), bars)"
                    remedy = f"a table of weights is a policy in Python: {call}"
                yield source.mistake((*path, "policy"), f"= {shown(policy)} is not a known policy", remedy)
            names = registry.parameters.get(policy, ())
            for key in params if policy in registry.parameters and isinstance(params, Mapping) else ():
                if key not in names:
                    text = f"is not a parameter of {policy}"
                    yield source.mistake((*path, "params", key), text, suggestion(key, names))


def check_shares(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistake where the capital shares of all agents and of the book `manual` add up to more than 1."""
    shares = {
        str(agent.get("name", f"number {k + 1}")): Fraction(str(agent["capital"]))
        for k, (_, agent) in enumerate(tables(document, "agents.*"))
        if is_number(agent.get("capital")) and agent.get("shadow") is not True
    }
    paths = [path for path, _ in values_at(document, "agents.*.capital")]
    if is_number(manual_share := table_of(document, "manual").get("capital")):
        shares[MANUAL] = Fraction(str(manual_share))
        paths.append(("manual", "capital"))
    total = sum(shares.values())
    if total > 1:
        file, line = source.place(paths[-1])
        share_texts = ", ".join(f"{name} {float(share):g}" for name, share in shares.items())
        text = f"[[agents]] shares add up to {float(total):.2f}"
        yield Mistake(file, line, "agents", text, f"they may add up to 1 at most ({share_texts})")


def check_schedules(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about schedules: their times, closed dates, and jobs whose tables are missing."""
    has_challenger = any(value for _, value in values_at(document, "agents.*.challenges"))
    for path, schedule in tables(document, "schedules.*"):
        job, times = schedule.get("do"), [key for key in ("at", "cron", "every") if key in schedule]
        simulated = table_of(document, "broker").get("kind", "paper") == "paper"
        on_closed = "cron" in schedule and job in ("rebalance", "flatten")
        # each rule is (condition of the mistake, path of the key, text, remedy)
        yield from mistakes_of(
            source,
            (len(times) != 1, path, f"has {' and '.join(times) or 'no time'}", "write one of at, cron or every"),
            (
                "on_closed" in schedule and not on_closed, (*path, "on_closed"),
                "applies only to cron with rebalance or flatten; other jobs also run on closed dates", "remove it",
            ),
            (
                job == "reallocate" and "capital" not in document, (*path, "do"),
                '= "reallocate" needs a table [capital], which is missing', "write [capital] with a method",
            ),
            (
                job == "promote" and not has_challenger, (*path, "do"),
                '= "promote" needs a challenger, and no agent has challenges',
                'write shadow = true and challenges = "name" in [[agents]]',
            ),
            (job == "deposit" and "amount" not in schedule, path, "has no amount", 'write amount = "500.00"'),
            (
                job != "deposit" and "amount" in schedule, (*path, "amount"),
                'applies only to do = "deposit"', "remove it",
            ),
            (
                "within" in schedule and (job != "deposit" or simulated), (*path, "within"),
                'applies only to do = "deposit" at a real venue; a simulated account has the money at once',
                "remove it",
            ),
        )  # fmt: skip
        shadows = set(names_of(document)) - set(names_of(document, shadows=False))
        for name_path, name in values_at(schedule, "agents.*") if job == "deposit" else ():
            if name in shadows:
                text = f"= {shown(name)} is a shadow, which has no money of the account"
                yield source.mistake((*path, *name_path), text, "name an agent that trades")
        outside = [  # a backtest asks those with params at the times of the schedule
            agent.get("name")
            for _, agent in tables(document, "agents.*")
            if agent.get("policy") == EXTERNAL and not agent.get("params")
        ]
        for name_path, name in values_at(schedule, "agents.*") if job == "rebalance" else ():
            if name in outside:
                text = f"= {shown(name)} is an outside agent, which decides by its proposals and at no schedule"
                yield source.mistake((*path, *name_path), text, "name an agent with a policy of its own, or remove it")
        if job == "retrain":
            yield from _retraining(path, schedule, document, source)


OF_ACCOUNT: Final = frozenset(ENGINE_JOBS) - {"rebalance", "deposit"} | {
    "daily_report", "risk_report", "backup", "compact", "parity", "data_refresh", "health_check", "statement",
}  # fmt: skip
"""Jobs of quantd that read no `agents`: each is for the whole account."""


def agents_of_jobs(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about `agents` of a job for the whole account: `flatten` would close the books of all."""
    for path, schedule in tables(document, "schedules.*"):
        if schedule.get("agents") and schedule.get("do") in OF_ACCOUNT:
            text = f"has no effect on do = {shown(schedule['do'])}, which is for the whole account"
            yield source.mistake((*path, "agents"), text, "remove it")


def tables_of_jobs(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes of tables that nothing reads: [capital] without a schedule that moves capital, and [promotion]
    without a challenger."""
    jobs = [schedule.get("do") for _, schedule in tables(document, "schedules.*")]
    has_challenger = any(value for _, value in values_at(document, "agents.*.challenges"))
    for table, is_read, remedy in (
        ("capital", "reallocate" in jobs, 'write [[schedules]] with do = "reallocate"'),
        ("promotion", has_challenger, 'write a shadow with challenges = "name"'),
    ):
        if table in document and not is_read:
            yield source.mistake((table,), "has no effect", f"{remedy}, or remove it (docs/trade/house.md)")


def check_capital(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes of [capital]: bounds that no shares can satisfy, and a method without its regimes or
    benchmark."""
    if "capital" not in document:
        return
    table, count = table_of(document, "capital"), len(names_of(document, shadows=False))
    floor, ceiling, method = table.get("floor", 0.0), table.get("ceiling", 1.0), ("capital", "method")
    regime = table.get("method") == "regime"
    of_benchmark = table.get("volatility_of", "benchmark") == "benchmark"
    benchmark = table_of(document, "universe").get("benchmark")
    symbols = [value for _, value in values_at(document, "universe.symbols.*")]
    yield from mistakes_of(
        source,
        (
            is_number(floor) and floor * count > 1, ("capital", "floor"),
            f"= {shown(floor)} for each of {count} agents adds up to more than 1",
            f"write {1 / max(count, 1):.3g} at most",
        ),
        (
            is_number(ceiling) and count and ceiling * count < 1, ("capital", "ceiling"),
            f"= {shown(ceiling)} for each of {count} agents adds up to less than 1",
            f"write {1 / max(count, 1):.3g} at least",
        ),
        (
            regime and not list(tables(table, "regimes.*")), method,
            '= "regime" needs at least one regime, and there is none', "write [[capital.regimes]]",
        ),
        (
            regime and of_benchmark and not benchmark, method,
            '= "regime" needs the benchmark\'s volatility, but no benchmark is set',
            'write [universe] benchmark, or volatility_of = "house"',
        ),
        (
            regime and of_benchmark and benchmark and benchmark not in symbols, method,
            f'= "regime" needs the benchmark\'s volatility, but {shown(benchmark)} is outside [universe] symbols',
            'write volatility_of = "house", or add it to the symbols',
        ),
    )  # fmt: skip


def check_shadows(document: Table, registry: Known, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes about shadows (on paper) and outside agents: one agent must trade, and a challenger must be a
    shadow.

    The policy EXTERNAL marks an outside agent, which decides by proposals. A backtest replaces it by ASKED, a policy
    that asks the agent's command or address.
    """
    shadows = set(names_of(document)) - set(names_of(document, shadows=False))
    if names_of(document) and not names_of(document, shadows=False):
        remedy = "at least one agent must trade: remove its shadow = true"
        yield source.mistake(("agents", 0, "shadow"), "= true for every agent", remedy)
    yield from _devices(document, source)
    for path, agent in tables(document, "agents.*"):
        if agent.get("challenges") and agent.get("shadow") is not True:
            text = f"= {shown(agent['challenges'])}, but this agent is not a shadow"
            yield source.mistake((*path, "challenges"), text, "write shadow = true")
        if agent.get("policy") == ASKED and (*path, "policy") not in source.overrides:
            text = '= "asked" is what a backtest makes of an outside agent with a command or an address; here it holds'
            yield source.mistake((*path, "policy"), text, f'write policy = "{EXTERNAL}"')
        if agent.get("policy") != EXTERNAL:
            if agent.get("approval"):
                text = "applies to the proposals of an outside agent only; a policy that is asked decides itself"
                yield source.mistake((*path, "approval"), text, f'remove it, or write policy = "{EXTERNAL}"')
            if agent.get("within"):
                text = "is how long a proposal waits for a person, and this agent proposes nothing"
                yield source.mistake((*path, "within"), text, "remove it")
            if agent.get("live"):
                text = "permits an outside agent to trade money, and this agent has its own policy"
                yield source.mistake((*path, "live"), text, f'remove it, or write policy = "{EXTERNAL}"')
            if agent.get("cut"):
                text = "applies to the orders of a program through the gateway, and this agent has its own policy"
                yield source.mistake((*path, "cut"), text, f'remove it, or write policy = "{EXTERNAL}"')
            continue
        if agent.get("within") and not agent.get("approval"):
            text = "is how long a proposal waits for a person, and no proposal of this agent waits"
            yield source.mistake((*path, "within"), text, 'write approval = "person", or remove it')
        may_trade = agent.get("shadow") is True or agent.get("live") is True
        if not may_trade and table_of(document, "quantd").get("mode") == "live":
            text = (
                '= "external", but this agent is no shadow: in mode live it trades after a promotion, or by permission'
            )
            remedy = 'write shadow = true and challenges = "AGENT", or live = true, so that it trades money at once'
            yield source.mistake((*path, "policy"), text, remedy)
        for key in ("sizing", "rebalance"):
            if key in agent:
                text = "applies to a policy that is asked; the proposals of an outside agent pass the limits only"
                yield source.mistake((*path, key), text, "remove it")
    owner = table_of(document, "broker").get("differences", "")
    if isinstance(owner, str) and owner in shadows:
        text = f"= {shown(owner)} is a shadow, which is not part of the account"
        yield source.mistake(("broker", "differences"), text, "name an agent that trades")


def _devices(document: Table, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes of [approvals]: a device that is named twice, and a book that none can approve for."""
    devices = [str(value) for _, value in values_at(document, "approvals.devices.*")]
    names = [device.partition(":")[0] for device in devices]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        text = f"has two keys of {', '.join(twice)}"
        yield source.mistake(("approvals", "devices"), text, "give each device a name of its own")
    for path, agent in tables(document, "agents.*"):
        if agent.get("approval") == "device" and not devices:
            text = '= "device" needs a device in [approvals], and there is none'
            yield source.mistake((*path, "approval"), text, "add one: quantd device add NAME KEY")


def _retraining(path: Path, schedule: Table, document: Table, source: Source) -> Iterator[Mistake]:
    """Yield the mistakes of a schedule that retrains: it may name shadows (agents on paper) only, and needs daily bars.

    An agent that trades would use its retrained policy at the next start without a test.
    """
    agents = list(tables(document, "agents.*"))
    shadows = {
        str(agent.get("name")): _folder(agent.get("policy")) for _, agent in agents if agent.get("shadow") is True
    }
    trading = names_of(document, shadows=False)
    named_agents = [(name_path, name) for name_path, name in values_at(schedule, "agents.*") if isinstance(name, str)]
    remedy = "name a shadow, with shadow = true and challenges"
    if not shadows:
        yield source.mistake((*path, "do"), '= "retrain" needs a shadow, and no agent is one', remedy)
    for name_path, name in named_agents:
        if name in trading:
            text = f"= {shown(name)} trades, so it would use the retrained policy without a comparison"
            yield source.mistake((*path, *name_path), text, remedy)
    # a trained artifact is a folder, so that its path has a slash; without names the schedule retrains every shadow
    retrained = {
        shadows[name] for name in ([name for _, name in named_agents] or shadows) if "/" in shadows.get(name, "")
    }
    for agent_path, agent in agents:
        if agent.get("shadow") is True:
            continue
        for key in ("policy", "params"):
            for folder in {_folder(agent_text) for agent_text in _texts_within(agent.get(key))} & retrained:
                text = f"names {folder}, which a schedule retrains, but this agent is not a shadow"
                yield source.mistake((*agent_path, key), text, f'name one version of it, "{folder}/v20190329-1a2b3c"')
    feed, text = table_of(document, "feed"), ""
    if feed.get("kind", "replay") != "replay":
        text = '= "retrain" needs a file of daily bars, but the feed is live'
    elif feed.get("interval_ns", feed.get("interval", "1d")) not in ("1d", 86_400 * 10**9):
        text = f'= "retrain" needs daily bars, but [feed] interval = "{feed.get("interval")}"'
    if text and not table_of(document, "retrain").get("bars"):
        yield source.mistake((*path, "do"), text, 'name daily bars: [retrain] bars = "FILE.parquet"')


def _folder(policy: object) -> str:
    """Return the path of a policy without redundant slashes, so that equal folders are equal texts."""
    return str(PurePosixPath(str(policy)))


def _texts_within(value: object) -> Iterator[str]:
    """Yield every text in a configuration value, also within its tables and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts_within(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts_within(inner)

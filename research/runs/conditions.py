"""Conditions of a run, read from its journal, and how the conditions of a backtest differ from them.

What can go wrong: a difference between run and backtest is attributed to prices and fills, while their configurations
differ. This happened with a lookback of 63 in the run and 126 in the backtest. So all conditions are compared. If none
differs, both runs must take the same decisions, and a difference of their results comes from the fills.

Rejected: to compare digests alone. A digest does not say what to change, so keys are compared.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from quantd.daemon.config import Config, ConfigError, digest
from quantd.daemon.config.trading_keys import differences, trading_keys
from quantd.daemon.recovery.replay import ConfigLost, Records, first_start, saved_config
from quantd.trading.codec import decode
from quantd.trading.events import (
    CancelRequested,
    Carried,
    Flow,
    Halted,
    JournalEvent,
    Operator,
    PortfolioClosed,
    PortfolioOpened,
    ProposalReviewed,
    Proposed,
    Reloaded,
    Started,
)
from quantd.trading.model_events import Exchanged, ModelLoaded

ACTS: Final[dict[type, str]] = {
    Flow: "deposit or withdrawal",
    Carried: "account taken over from an earlier run",
    Operator: "command",
    CancelRequested: "cancel by hand",
    Halted: "halt of a symbol by hand",
    PortfolioOpened: "portfolio opened",
    PortfolioClosed: "portfolio closed",
    Proposed: "proposal",
    ProposalReviewed: "review of a proposal",
    ModelLoaded: "model loaded",
    Exchanged: "promotion or demotion",
}
"""Type of event -> its name in messages: the acts in a live run that a backtest does not repeat."""

_READ_EVENTS: Final = re.compile("|".join(kind.__name__ for kind in (Started, Reloaded, *ACTS)).encode())
"""Finds encoded entries with an event that is read; all other entries need not be decoded."""


class Conditions(Struct, frozen=True):
    """The conditions of a run up to entry `seq` of its journal; values are in the order in which the run had them.

    `configs` are the digests of configurations, `markets` the digests of recorded markets, `codes` the versions of the
    program. `policies` are the digests of the agents' files and artifacts, one text for each start. `acts` counts the
    operators' acts by name (`ACTS`).
    """

    seq: int = 0
    configs: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    acts: dict[str, int] = {}


def conditions_of(records: Records, run: str, before: Conditions = Conditions()) -> Conditions:  # noqa: B008 - frozen
    """Return the conditions of a run up to the end of its journal.

    `before` are its conditions up to an earlier entry: only later entries are read then.
    """
    seq, acts = before.seq, Counter(before.acts)
    configs, markets = dict.fromkeys(before.configs), dict.fromkeys(before.markets)
    codes, policies = dict.fromkeys(before.codes), dict.fromkeys(before.policies)
    for seq, data in records.entries(run, before.seq + 1):  # noqa: B007 - the last one is used
        if not _READ_EVENTS.search(data):
            continue
        event = decode(data).event
        if isinstance(event, Started | Reloaded):
            configs[event.config] = None
        if isinstance(event, Started):
            markets[event.feed] = codes[event.version] = None
            policies[_policy_digests(event)] = None
        elif (act_name := ACTS.get(type(event))) and _by_hand(event):
            acts["order by hand" if isinstance(event, Proposed) and event.by_hand else act_name] += 1
    return Conditions(seq, tuple(configs), tuple(markets), tuple(codes), tuple(policies), dict(acts))


def backtest_conditions(records: Records, run: str) -> Conditions | None:
    """Return the conditions of a stored backtest, which has one start and no operator's acts; None without a start."""
    start = first_start(records, run)
    if start is None:
        return None
    return Conditions(1, (start.config,), (start.feed,), (start.version,), (_policy_digests(start),))


def _policy_digests(event: Started) -> str:
    """Return each agent with the digests of its files and artifacts, as text."""
    return ", ".join(f"{agent} {digests}" for agent, digests in sorted(event.artifacts.items()) if digests)


def _by_hand(event: JournalEvent) -> bool:
    """Return True for an event that a person caused: a deposit or withdrawal, a halt by an operator, or another act."""
    match event:
        case Flow():
            return event.kind == "flow"
        case Halted():
            return bool(event.who)
        case _:
            return True


class StoredConfig(Struct, frozen=True):
    """The keys that affect trading in the saved configuration of a backtest, and their digest.

    `fault` says why the keys are unknown, and is empty where they are known.
    """

    keys: dict[str, str] = {}
    digest: str = ""
    fault: str = ""


def stored_config(folder: Path, name: str) -> StoredConfig:
    """Return the keys of the saved configuration with the digest `name` (hex), from the state folder `folder`."""
    try:
        config = saved_config(folder, name)
    except (ConfigLost, ConfigError) as error:
        return StoredConfig(fault=str(error).partition(";")[0])
    if name not in (digest(config), digest(config.for_backtest())):
        return StoredConfig(fault="a file that its configuration names has changed")
    for_backtest = config.for_backtest()
    return StoredConfig(trading_keys(for_backtest), digest(for_backtest))


def unlike(tested: Conditions, stored: StoredConfig, run: Conditions, config: Config) -> Iterator[str]:
    """Yield a text for each condition in which a stored backtest (`tested`, `stored`) and a run of `config` differ."""
    for_backtest = config.for_backtest()
    if stored.fault:
        yield f"its configuration is unknown: {stored.fault}"
    elif stored.digest != digest(for_backtest):
        yield from differences(stored.keys, trading_keys(for_backtest)) or ["another digest of its configuration"]
    for condition, of_backtest, of_run in (
        ("bars", tested.markets, run.markets),
        ("files of policies", tested.policies, run.policies),
        ("code of quantd", tested.codes, run.codes),
    ):
        if of_backtest != of_run:
            yield f"{condition} {_digests_text(of_backtest)}, here {_digests_text(of_run)}"
    yield from unrepeated(run)


def unrepeated(run: Conditions) -> Iterator[str]:
    """Yield each condition of a run that no backtest can have, as text: a changed configuration, operators' acts."""
    if len(run.configs) > 1:
        yield f"the run traded under {len(run.configs)} configurations"
    for act, count in run.acts.items():
        yield f"the run has events that no backtest repeats: {act} ({count:,})"


def _digests_text(values: tuple[str, ...]) -> str:
    """Return digests as text, each cut to 8 characters, in their order in the run."""
    return " then ".join(", ".join(map(_short_digest, value.split(", "))) for value in values) or "none"


def _short_digest(text: str) -> str:
    """Return "DIGEST" or "AGENT DIGEST" with the digest cut to 8 characters."""
    *agent, value = text.split(" ")
    return " ".join([*agent, value[:8] or "none"])

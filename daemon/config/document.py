"""The parsed configuration: frozen values, each with its line in the file or its override."""

from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, repeat
from json import dumps
from pathlib import Path as FilePath
from typing import Any, Final, get_args

from quantd.bundled import absent, find
from quantd.daemon.config.agent_tables import Agent, Approvals
from quantd.daemon.config.keys import all_keys, keys_of, pattern_of
from quantd.daemon.config.mistakes import Mistake, Source, notation, shown
from quantd.daemon.config.risk_tables import Alerts, NoticeTable, Risk
from quantd.daemon.config.scan import Path
from quantd.daemon.config.schema import (
    Api,
    Broker,
    Bus,
    Document,
    Feed,
    GatewayTable,
    InstrumentTable,
    Live,
    Log,
    Models,
    Quantd,
    Schedule,
    Store,
    Study,
    UniverseTable,
)
from quantd.daemon.config.values import HIGHEST_MULTIPLE, Reload, Section
from quantd.state_folder import check_state
from quantd.trading.instruments import MICRO, NANO, Instrument, Universe, usual_lot_nano, usual_tick_nano


@dataclass(frozen=True, slots=True)
class Config:
    """Every value of one configuration, including defaults, and the source of each key."""

    document: Document
    source: Source
    quantd: Quantd = field(init=False)
    universe: UniverseTable = field(init=False)
    feed: Feed = field(init=False)
    broker: Broker = field(init=False)
    risk: Risk = field(init=False)
    live: Live = field(init=False)
    study: Study = field(init=False)
    schedules: tuple[Schedule, ...] = field(init=False)
    bus: Bus = field(init=False)
    store: Store = field(init=False)
    api: Api = field(init=False)
    gateway: GatewayTable | None = field(init=False)
    alerts: Alerts = field(init=False)
    approvals: Approvals = field(init=False)
    models: Models = field(init=False)
    log: Log = field(init=False)
    agents: tuple[Agent, ...] = field(init=False)
    """The agents that trade, then the book `manual`, if configured, then the places for portfolios."""
    shadows: tuple[Agent, ...] = field(init=False)
    """The shadows among [[agents]]; their indices in `seats` follow those of the trading agents."""
    seats: tuple[Agent, ...] = field(init=False)
    """All agents with a policy, by index: the trading agents, then the shadows."""

    def __post_init__(self) -> None:
        """Set the fields that the caller does not pass: the tables of the document, and agents by what they do.

        These are `agents`, which trade, `shadows`, which decide on paper, and `seats`, first `agents`, then `shadows`.
        """
        document = self.document
        by_hand = () if document.manual is None else (document.manual.agent(),)
        places = () if document.portfolios is None else document.portfolios.agents()
        agents = (*(agent for agent in document.agents if not agent.shadow), *by_hand, *places)
        shadows = tuple(agent for agent in document.agents if agent.shadow)
        derived_fields = {"agents": agents, "shadows": shadows, "seats": (*agents, *shadows)}
        for key in fields(self):
            if not key.init:
                value = derived_fields[key.name] if key.name in derived_fields else getattr(document, key.name)
                object.__setattr__(self, key.name, value)

    @property
    def places(self) -> frozenset[str]:
        """Names of the places for portfolios: agents without capital until a portfolio is opened in one."""
        table = self.document.portfolios
        return frozenset() if table is None else frozenset(agent.name for agent in table.agents())

    @property
    def attended(self) -> bool:
        """Whether the configuration has places for portfolios, or notices, which only a running service needs."""
        return bool(self.places) or self.alerts.notices != NoticeTable()

    def for_backtest(self) -> "Config":
        """Return this configuration without places for portfolios and without notices: a backtest has neither."""
        if not self.attended:
            return self
        alerts = self.alerts.model_copy(update={"notices": NoticeTable()})
        return Config(self.document.model_copy(update={"portfolios": None, "alerts": alerts}), self.source)

    def with_option(self, section: str, key: str, value: Any, option: str) -> "Config":
        """Return this configuration with one value from a command-line option, which is recorded as the source of the
        key."""
        table = getattr(self.document, section).model_copy(update={key: value})
        source = replace(self.source, overrides={**self.source.overrides, (section, key): option})
        return Config(self.document.model_copy(update={section: table}), source)

    def in_state(self, folder: FilePath | None, environ: Mapping[str, str]) -> "Config":
        """Return this configuration with the state folder of --state, or of QUANTD_STATE; unchanged if neither is
        set."""
        if folder is None:
            return self
        option = "QUANTD_STATE" if environ.get("QUANTD_STATE") == str(folder) else "--state"
        return self.with_option("quantd", "state", str(folder.absolute()), option)

    def agent(self, **values: Any) -> Agent:
        """Build an agent from values of its keys, with defaults for all other keys.

        The configuration is not changed.
        """
        # the class of the document's agents: it also has the limits of installed packages
        agent: Agent = get_args(type(self.document).model_fields["agents"].annotation)[0](**values)
        return agent

    def instruments(self, first_nano: Sequence[int] = ()) -> Universe:
        """Return the universe as a value of the package `trading`.

        `first_nano` are the first prices by column, 0 for none: lots and ticks that no table has follow from them.
        """
        table = self.universe
        tables_by_symbol = {row.symbol: row for row in table.instruments}
        instruments = []
        largest_nano = self.broker.cash_micro * HIGHEST_MULTIPLE * (NANO // MICRO)
        for symbol, price_nano in zip(table.symbols, chain(first_nano, repeat(0)), strict=False):
            instrument = tables_by_symbol.get(symbol) or InstrumentTable(symbol=symbol)
            calendar = instrument.calendar or table.calendar
            units = largest_nano // price_nano if price_nano else 0
            instruments.append(
                Instrument(
                    symbol, lot_nano=instrument.lot_nano or usual_lot_nano(symbol, calendar, units),
                    tick_nano=instrument.tick_nano or usual_tick_nano(symbol, calendar, price_nano),
                    calendar=calendar, sector=instrument.sector, currency=table.currency, asset=instrument.asset,
                )
            )  # fmt: skip
        return Universe(
            tuple(instruments),
            currency=table.currency,
            calendar=table.calendar,
            benchmark=table.benchmark,
            groups=tuple(sorted((group.name, group.symbols) for group in table.groups)),
        )

    def at(self, name: str) -> FilePath:
        """Return the path of a file that the configuration names.

        The file is searched relative to the folder of config.toml, then among the bundled files.
        """
        return find(name, self.source.folder)

    def state_folder(self, override: FilePath | None) -> FilePath:
        """Return the state folder: `override` if given, else the configured one. Raises Refused if a name in it is a
        link, a device or a pipe."""
        folder = override if override is not None else self.at(self.quantd.state)
        check_state(folder, self.api.tokens)
        return folder

    def missing_files(self) -> list[Mistake]:
        """Return the mistakes about files that the configuration names and that do not exist."""
        named_files: list[tuple[Path, str]] = [
            (("feed", key), getattr(self.feed, key)) for key in ("path", "actions", "exceptions", "mapping")
        ]
        named_files += [(("universe", key), getattr(self.universe, key)) for key in ("members", "benchmark_path")]
        named_files += [(("broker", "costs"), self.broker.costs_file)]
        named_files += [(("feed", "macro", k, "path"), series.path) for k, series in enumerate(self.feed.macro)]
        named_files += [
            (("feed", "series", k, "path"), series.path) for k, series in enumerate(self.feed.series) if series.use
        ]
        named_files += [(("retrain", key), getattr(self.document.retrain, key)) for key in ("bars", "actions")]
        for k, agent in enumerate(self.document.agents):
            if "/" in agent.policy or ":" in agent.policy:
                named_files.append((("agents", k, "policy"), agent.policy.partition(":")[0]))
        for k, agent in enumerate(self.document.agents):
            named_files += [(("agents", k, "reads"), name) for name in agent.reads]
        named_files += [(("models", "trusted_keys"), name) for name in self.models.trusted_keys]
        for section, tls in (("api", self.api.tls), ("bus", self.bus.tls)):
            if tls is not None:
                named_files += [((section, "tls", key), getattr(tls, key)) for key in keys_of(type(tls))]
        if isinstance(rate := self.document.account.cash_rate, str):
            named_files.append((("account", "cash_rate"), rate))
        further_remedy = {
            "policy": "; name a policy, a file of one, or a trained artifact such as models/shipped/scorer"
        }
        no_folder = [
            self.source.mistake(("agents", k, "reads"), f"= {shown(name)} is not a folder", "name a folder of data")
            for k, agent in enumerate(self.document.agents)
            for name in agent.reads
            if self.at(name).is_file()
        ]
        return no_folder + [
            self.source.mistake(
                path,
                f"= {shown(name)}: {absent(name)}",
                f"the folder searched is {folder.absolute()}{further_remedy.get(str(path[-1]), '')}",
            )
            for path, name in named_files
            if name and not self.at(name).exists()
            for folder in (self.at(name).parent,)
        ]


def flat(config: Config) -> dict[Path, Any]:
    """Return the value of every key by its path. A table in a list has its index in the path; `params` is one value.

    A list of tables has its length at its own path. An optional table has True at its own path, or None if absent.
    """
    return dict(_flat(config.document, ()))


def given(config: Config) -> set[Path]:
    """Return the paths of the keys that the file or an override sets; every other key has its default."""
    return {path for path in flat(config) if _written(config.document, path)}


def _written(section: Section, path: Path) -> bool:
    """Whether the file or an override sets the key at a path within `section`."""
    key = keys_of(type(section))[str(path[0])]
    if key.attribute not in section.model_fields_set:
        return False
    inner, path_inside = getattr(section, key.attribute), path[1:]
    if isinstance(inner, tuple) and path_inside:
        inner, path_inside = inner[int(path_inside[0])], path_inside[1:]
    return not path_inside or _written(inner, path_inside)


def _flat(section: Section, above: Path) -> Iterator[tuple[Path, Any]]:
    """Yield (path, value) of every key in a table, whose own path is `above`, and in its inner tables."""
    for name, key in keys_of(type(section)).items():
        path, value = (*above, name), getattr(section, key.attribute)
        if key.section is None or value is None:
            yield path, value
        elif key.many:
            yield path, len(value)
            for k, inner in enumerate(value):
                yield from _flat(inner, (*path, k))
        else:
            if type(section).model_fields[key.attribute].default is None:
                # an optional table is a row too, because its presence is a setting
                yield path, True
            yield from _flat(value, path)


NOT_TRADING: dict[str, str] = {
    "quantd.name": "only names topics, folders and metrics",
    "quantd.state": "is a place",
    "quantd.live": "is a permission; the mode itself is in the digest",
    "universe.benchmark_path": "is a place; the benchmark outside the universe is compared and changes no trade",
    "universe.members": "is a place; the market of a recorded run has a digest of the content",
    "broker.costs": "is a place; the market of a recorded run has a digest of the content",
    "feed.path": "is a place; the feed has a digest of the content",
    "feed.actions": "is a place; the feed has a digest of the content",
    "feed.exceptions": "is a place; the feed has a digest of what it changes",
    "feed.macro.*.path": "is a place; the market of a recorded run has a digest of the content",
    "feed.series.*.path": "is a place; the market of a recorded run has a digest of the content",
    "feed.holes": "decides whether a backtest starts; it changes no trade",
    "feed.pace": "changes when bars are processed, not which",
    "feed.at_end": "takes effect only after the last bar",
    "bus": "publishes only",
    "store": "is a place and its retention",
    "api": "publishes only",
    "gateway": "is a door; each order that comes through it is in the journal",
    "alerts": "publishes only",
    "agents.*.live": "is a permission; the mode itself is in the digest",
    "agents.*.cut": "is how the gateway sends an order that a limit cuts; the journal has each order",
    "agents.*.reads": "is a permission to read; what a policy decides is in the journal",
    "models.trusted_keys": "restricts which artifacts are accepted, not their decisions",
    "log": "publishes only",
    "live.paper_days": "is a condition of a live start; it changes no trade",
    "retrain": "configures training outside trading; the start that trades a model records its digest",
    "study": "is the comparison of a report",
    "risk.history": "is history in memory for display",
    "schedules.*.within": "decides about an alert, and to which books a venue's deposit goes, which the journal has",
    "risk.monitor_interval": "is the interval of status messages; alerts come from the engine",
}
"""Keys outside the digest, each with the reason why it cannot change a trade."""


ADDED: Final = {
    "agents.*.approval": ("",), "agents.*.within": (0, "0s"), "approvals.devices": ((),),
    "feed.spikes": ("stop", "reject"), "feed.zone": ("",), "schedules.*.amount": (None,),
}  # fmt: skip
"""Key of a later version -> values with which it is not in the digest, so that older runs keep their digest.

With `spikes = "stop"` a run that was recorded before this key existed leaves out the same bars as with "reject".
"""


def digest(config: Config) -> str:
    """Return the hex BLAKE2b over every value that can change trading, defaults included.

    _NEWEST caches the digests of the last configurations.
    """
    for cached_config, hex_digest in _NEWEST:
        if cached_config is config:
            return hex_digest
    rows = [
        (".".join(map(str, path)), _json_value(value))
        for path, value in flat(config).items()
        if affects_trading(path, value)
    ]
    text = dumps(sorted(rows), separators=(",", ":"), sort_keys=True, allow_nan=False)
    hex_digest = blake2b(text.encode(), digest_size=32).hexdigest()
    _NEWEST.append((config, hex_digest))
    return hex_digest


def affects_trading(path: Path, value: Any) -> bool:
    """Whether the key at `path` can change trading with this value; the digest covers exactly these keys."""
    outside = _values_outside_digest(path)
    return outside is not None and value not in outside


@lru_cache(maxsize=4_096)
def _values_outside_digest(path: Path) -> tuple[Any, ...] | None:
    """Return the values of the key at `path` that change no trade, and are therefore not in the digest; None for any
    key that is never in the digest."""
    return None if _enclosing_key(path, NOT_TRADING) else ADDED.get(_enclosing_key(path, ADDED) or "", ())


_NEWEST: Final[deque[tuple[Config, str]]] = deque(maxlen=4)
"""(Configuration, its digest), the newest: a start asks for the digest of its configuration several times."""


def _enclosing_key(path: Path, names: Container[str]) -> str | None:
    """Return the entry of `names` that is the key at `path`, or a table around it; None without one."""
    pattern = pattern_of(path)
    prefixes = (".".join(pattern[:length]) for length in range(1, len(pattern) + 1))
    return next((name for name in prefixes if name in names), None)


def _json_value(value: Any) -> Any:
    """Return the value with types that JSON has; any other value, such as a date, as text."""
    if isinstance(value, Mapping):
        return {str(k): _json_value(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_json_value(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


RELOADABLE: dict[str, str] = {
    "approvals": "a removed device approves nothing any more, and a new one waits",
    "universe.closed": "an exchange may close at short notice; the daemon restarts with the changed calendar",
    "alerts": "which alerts are sent",
    "log": "which log lines are written",
    "feed.pace": "the speed of a replay",
    "feed.at_end": "is read when the feed ends",
    "schedules.*.enabled": "a schedule can be switched on or off; the daemon restarts with the changed schedules",
    "schedules.*.missed": "is read when a tick was missed",
    "risk": "limits may be tightened, never loosened, while positions are open",
    "agents.*.limits": "limits may be tightened, never loosened, while positions are open",
    "manual.limits": "limits may be tightened, never loosened, while positions are open",
    "portfolios.limits": "limits may be tightened, never loosened, while positions are open",
    "live.max_account_notional": "limits may be tightened, never loosened, while positions are open",
    "live.max_order_notional": "limits may be tightened, never loosened, while positions are open",
    "live.max_orders_per_day": "limits may be tightened, never loosened, while positions are open",
}
"""Keys that SIGHUP may change while the daemon runs, each with the reason; all other keys need a restart."""


def _changes(old: Config, new: Config, fixed: Container[str], granted: Path) -> tuple[list[Path], dict[Path, Mistake]]:
    """Return (paths whose values change, the mistake of each that may not); those in `fixed` may not either.

    The key at `granted` may become looser.
    """
    before, after, keys = flat(old), flat(new), all_keys(type(new.document))
    # an added or removed table is one change, at its own path
    changed = [path for path, value in before.items() if path in after and after[path] != value]
    refused = {}
    for path in changed:
        reloadable, reload = _enclosing_key(path, RELOADABLE), keys[pattern_of(path)].reload
        wanted, in_force = (_reload_text(keys[pattern_of(path)].attribute, values[path]) for values in (after, before))
        stays = reloadable in fixed or (reload is not None and reload.looser == "fixed")
        if path == granted and not stays:
            continue
        if reloadable is None or stays:
            text = f"= {wanted} is not in force, {in_force} is: it cannot change while the daemon runs"
            refused[path] = new.source.mistake(path, text, "restart the daemon")
        elif "limits" in RELOADABLE[reloadable] and _looser(path, reload, before, after):
            text = f"= {wanted} may be looser than the present value, {in_force}, which stays in force"
            remedy = "a reload may only tighten limits; to loosen one, stop the daemon, then quantd run --loosen"
            refused[path] = new.source.mistake(path, text, remedy)
    return changed, refused


def applicable(
    old: Config, new: Config, fixed: Container[str] = (), granted: Path = ()
) -> tuple[Config, tuple[str, ...], list[Mistake]]:
    """Return (`new` as far as a reload may change `old`, dotted paths of what it changes, mistakes about the rest).

    RELOADABLE maps the keys and tables that may change while the daemon runs to the reason. A limit may only become
    tighter; one whose mark `reload.looser` is "fixed" may not change at all. A key that may not change holds up no
    other key of the same edit, so that a tighter limit is never lost. The source of a key that stays names
    the line that is not in force. Agents and schedules are compared by name. The key at `granted` may become looser.
    """
    aligned, mistakes = new, []
    for table in NAMED:
        names, wanted = ([row.name for row in getattr(each.document, table)] for each in (old, new))
        if names != wanted:
            text = f"are {', '.join(wanted) or 'none'}, and those in force are {', '.join(names) or 'none'}"
            mistakes.append(new.source.mistake((table,), text, "restart the daemon; for agents with --carry"))
            aligned = _aligned(old, aligned, table, wanted)
    changed, refused = _changes(old, aligned, fixed, granted)
    document, overrides = aligned.document, dict(aligned.source.overrides)
    for path, mistake in refused.items():
        document = _with_value_of(document, old.document, path)
        overrides[path] = f"the start of the run; {mistake.file}:{mistake.line} is not in force"
    names_changed = tuple(".".join(map(str, path)) for path in changed if path not in refused)
    merged = Config(document, replace(aligned.source, overrides=overrides))
    return merged, names_changed, [*mistakes, *refused.values()]


NAMED: Final = ("agents", "schedules")
"""Lists of tables with a name each."""


def _aligned(old: Config, new: Config, table: str, wanted: Sequence[str]) -> Config:
    """Return `new` with the tables of a list in the order of `old`, each with its lines; `old` has those it lacks."""
    rows = []
    lines: dict[Path, int] = {}
    names: dict[Path, str] = {}
    for k, row in enumerate(getattr(old.document, table)):
        at = wanted.index(row.name) if row.name in wanted else -1
        rows.append(getattr(new.document, table)[at] if at >= 0 else row)
        lines |= {(table, k, *p[2:]): line for p, line in new.source.lines.items() if p[:2] == (table, at)}
        names |= {(table, k, *p[2:]): name for p, name in new.source.names.items() if p[:2] == (table, at)}
    lines |= {p: line for p, line in new.source.lines.items() if p[:1] != (table,) or len(p) == 1}
    names |= {p: name for p, name in new.source.names.items() if p[:1] != (table,)}
    source = replace(new.source, lines=lines, names=names)
    return Config(new.document.model_copy(update={table: tuple(rows)}), source)


def _with_value_of(section: Any, other: Any, path: Path) -> Any:
    """Return a section of the document with the value that `other` has at `path` within it."""
    kind: type[Section] = type(section)
    attribute, inside = keys_of(kind)[str(path[0])].attribute, path[1:]
    mine, theirs = getattr(section, attribute), getattr(other, attribute)
    if not inside:
        mine = theirs
    elif isinstance(mine, tuple):
        k = int(inside[0])
        mine = (*mine[:k], _with_value_of(mine[k], theirs[k], inside[1:]), *mine[k + 1 :])
    else:
        mine = _with_value_of(mine, theirs, inside)
    return section.model_copy(update={attribute: mine})


def _reload_text(attribute: str, value: Any) -> str:
    """Return the value of a key as text for a message about a reload, in the units of config.toml."""
    if value is None or value is True:
        return "the profile or default" if value is None else "on"
    text = shown(notation(attribute, value))
    # an address may have a password, and the text is sent to every receiver of alerts
    return "a value with an address" if "://" in text else text


def _looser(path: Path, reload: Reload | None, before: Mapping[Path, Any], after: Mapping[Path, Any]) -> bool:
    """Whether a limit at `path` may be weaker after the reload.

    A removed limit is weaker. An added limit may be weaker when it replaces a default or a profile's limit.
    """
    old_value, new_value = before[path], after[path]
    if new_value is None:
        return True
    if old_value is None:
        owner = path[:2] if path[0] == "agents" else path[:1]
        # `reload.on` means that the limit has a default
        return (reload is not None and reload.on) or before.get((*owner, "profile")) is not None
    match reload and reload.looser:
        case "higher":
            return bool(new_value > old_value)
        case "lower":
            return bool(new_value < old_value)
        case "fewer":
            return not set(old_value) <= set(new_value)
    return True

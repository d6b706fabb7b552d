"""The names that a configuration may use, and the mistakes in its vendors and venues, found without a connection."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from quantd.adapters.brokers.venue import Venue
from quantd.adapters.feeds.bars.stamps import interval_ns
from quantd.adapters.feeds.vendor import Vendor
from quantd.adapters.listener import is_loopback
from quantd.adapters.sinks.sink import Selection
from quantd.adapters.store.incidents.alert_kinds import ALERT_KINDS, kind_of
from quantd.daemon.assembly.brokers import venues
from quantd.daemon.assembly.feeds import vendors
from quantd.daemon.assembly.job_records import jobs
from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.assembly.limits import target_mistakes
from quantd.daemon.assembly.sinks import sinks
from quantd.daemon.config import Config, Known, Mistake
from quantd.daemon.config.mistakes import suggestion
from quantd.models.forests.params import NAME as LEARNED_ALLOCATION
from quantd.models.forests.params import AllocationParams
from quantd.risk.limits.catalogue import PROFILES
from quantd.strategies.policies import COMPOSITES, POLICIES, RECORDS
from quantd.trading.sessions import interval_text

COMMON: Final = (
    "24/7", "XNYS", "XNAS", "NYSE", "NASDAQ", "XLON", "LSE", "XETR", "XFRA", "XPAR", "XAMS", "XSWX", "XMIL", "XMAD",
    "XTSE", "XTKS", "XHKG", "XSHG", "XBOM", "XASX", "XKRX", "BVMF", "CMES", "24/5",
)  # fmt: skip
"""Calendars that are suggested. data/sessions.msgpack, which comes with quantd, has their sessions."""


class Calendars(tuple[str, ...]):
    """The common calendars, for suggestions. `in` is also True for any other calendar that exists."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        from quantd.adapters.calendars import ALWAYS_OPEN, names

        return name == ALWAYS_OPEN or name in names()


class Policies(tuple[str, ...]):
    """The built-in policies, for suggestions. `in` is also True for a policy of an installed package."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in POLICIES or name in COMPOSITES


R = TypeVar("R")
V = TypeVar("V")


class Fields(Mapping[str, V], Generic[R, V]):
    """A mapping from the kind of a record to one field of the record. A record whose field is None is absent.

    The module of a record is imported when its field is read: a replay needs neither vendors nor sinks. Raises KeyError
    for a kind that is absent.
    """

    def __init__(self, records: Mapping[str, R], field: Callable[[R], V | None]) -> None:
        self._records, self._field = records, field

    def __getitem__(self, kind: str) -> V:
        value = self._field(self._records[kind])
        if value is None:
            raise KeyError(kind)
        return value

    def __iter__(self) -> Iterator[str]:
        return (kind for kind, record in self._records.items() if self._field(record) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Secrets(Mapping[str, str]):
    """A mapping from the name of a secret to its meaning, for all vendors, venues and sinks. A look-up imports all
    records."""

    def _all(self) -> dict[str, str]:
        declared = [record.secrets for many in (vendors(), venues(), sinks()) for record in many.values()]
        return {name: text for secrets in declared for name, text in secrets.items()}

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def known_names() -> Known:
    """Return the names that `quantd.daemon.config.load` accepts."""
    parameters = {record.name: record.params.__struct_fields__ for record in RECORDS}
    parameters[LEARNED_ALLOCATION] = AllocationParams.__struct_fields__
    return Known(
        Policies(sorted(parameters)),
        Calendars(COMMON),
        tuple(PROFILES),
        parameters,
        limits=limit_keys(),
        sinks=Fields(sinks(), lambda sink: sink.options),
        selection=Selection,
        feeds=("replay", *vendors()),
        brokers=tuple(venues()),
        jobs=tuple(jobs()),
        stops_at=Fields(venues(), lambda venue: venue.stops_at),
        secrets=Secrets(),
    )


OF_KINDS: Final = frozenset({"url", "venue", "mapping", "plan"})
"""The keys of [feed] and [broker] that only some vendors or venues read."""


def _unread_options(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes about options of a vendor or venue that the configured kind does not read, such as `venue`
    without ccxt. Where an override sets the kind, the options of the file are of the kind that it replaced.
    """
    feed, broker, source = config.feed, config.broker, config.source
    chosen = (("feed", feed, vendors(), (feed.kind, *feed.fallback)), ("broker", broker, venues(), (broker.kind,)))
    for section, table, records, kinds in chosen:
        for key in sorted(OF_KINDS & type(table).model_fields.keys()):
            replaced = (section, "kind") in source.overrides and (section, key) not in source.overrides
            unset = getattr(table, key) == type(table).model_fields[key].default
            if unset or replaced or any(_reads(records[kind], key) for kind in kinds if kind in records):
                continue
            # the other records are imported for the message only
            needs = " or ".join(f'kind = "{kind}"' for kind, record in records.items() if _reads(record, key))
            yield source.mistake((section, key), f"applies only to {needs}", "write that kind, or remove it")


def _reads(record: Vendor | Venue, key: str) -> bool:
    return any(option.key == key for option in record.options)


def _unknown_kinds(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes about kinds of alerts that no alert has: their sink would receive nothing."""
    names = [kind.name for kind in ALERT_KINDS]
    for sink, table in config.alerts.sinks.items():
        path = ("alerts", "sinks", sink, "kinds")
        if not table.get("kinds", True):
            yield config.source.mistake(path, "is empty", "name kinds of alerts, or remove it for all kinds")
        for kind in table.get("kinds", ()):
            record = kind_of(kind)
            if record is None or (kind == record.name and kind.endswith("_")):
                family = next((name for name in names if name.endswith("_") and f"{kind}_".startswith(name)), "")
                remedy = f'write one such as "{family}NAME"' if family else suggestion(kind, names)
                yield config.source.mistake(path, f'has "{kind}", which no alert has', remedy)


def mistakes_of(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes of [feed] and [broker] about vendors and venues."""
    mistake = config.source.mistake
    vendor, venue = vendors().get(config.feed.kind), venues()[config.broker.kind]
    for section, table, record in (("feed", config.feed, vendor), ("broker", config.broker, venue)):
        for option in record.options if record is not None else ():
            # `missing` of a required option is the remedy for its absence; it is empty for an optional one
            if option.missing and not getattr(table, option.key):
                yield mistake((section, option.key), "is missing", option.missing)
    yield from _unread_options(config)
    yield from _unknown_kinds(config)
    exchange = config.broker.venue
    if venue.exchanges is not None and exchange and exchange not in venue.exchanges:
        text = f'= "{exchange}" is an exchange at which quantd sends no orders: it has no record of its answers'
        yield mistake(("broker", "venue"), text, suggestion(exchange, venue.exchanges))
    yield from target_mistakes(config)
    yield from _build_mistakes(config)
    yield from _zone_mistakes(config)
    broker, mode = config.broker, config.quantd.mode
    if not broker.url or not venue.broker or is_loopback(_host(broker.url)):
        return
    is_sandbox = bool(venue.paper_url) and _host(broker.url) == _host(venue.paper_url)
    if mode == "paper" and not is_sandbox:
        # an unknown address may be the live market: only known sandboxes are accepted
        is_live_market = bool(venue.live_url) and _host(broker.url) == _host(venue.live_url)
        where = "the live venue" if is_live_market else "not a known sandbox"
        remedy = f'write url = "{venue.paper_url}"' if venue.paper_url else "leave url out for the venue's sandbox"
        text = f'= "{broker.url}" is {where}, but mode = "paper"'
        yield mistake(("broker", "url"), text, f'{remedy}, or mode = "live"')
    if mode == "live" and is_sandbox:
        text = f'= "{broker.url}" is the venue\'s sandbox, but mode = "live"'
        yield mistake(("broker", "url"), text, 'leave url out, or write mode = "paper"')


def _build_mistakes(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes of [feed] build_from."""
    feed, where = config.feed, ("feed", "build_from")
    if not feed.build_from:
        return
    mistake, interval = config.source.mistake, interval_text(feed.interval_ns)
    if feed.build_from == "trades":
        if feed.kind != "replay":
            remedy = 'name a finer interval of the vendor, build_from = "1m"'
            yield mistake(where, '= "trades" needs a replay of a file of trades', remedy)
        return
    finer_ns = interval_ns(feed.build_from)
    if finer_ns >= feed.interval_ns or feed.interval_ns % finer_ns:
        text = f'= "{feed.build_from}" does not divide interval = "{interval}"'
        yield mistake(where, text, "name a shorter interval that divides it")
    if feed.kind == "replay" and feed.stamps == "session":
        text = '= "session" is for daily bars, not for intraday bars'
        yield mistake(("feed", "stamps"), text, 'write "open" or "close"')


def _zone_mistakes(config: Config) -> Iterator[Mistake]:
    """Yield the mistakes of `zone` in [feed]: a vendor whose timestamps have an offset, or a mapping file with another
    zone."""
    feed, where = config.feed, ("feed", "zone")
    if not feed.zone:
        return
    if feed.kind not in ("replay", "http"):
        text = f'= "{feed.zone}" is for recorded bars and for kind http: the stamps of {feed.kind} have an offset'
        yield config.source.mistake(where, text, "remove it")
    mapping = config.at(feed.mapping) if feed.mapping else None
    if mapping is None or not mapping.is_file():
        return
    try:
        zone = tomllib.loads(mapping.read_text(encoding="utf-8")).get("zone", "")
    except (OSError, ValueError):
        return  # the vendor names the fault of its file
    if zone and zone != feed.zone:
        text = f'= "{feed.zone}", but zone = "{zone}" in {feed.mapping}, which precedes it'
        yield config.source.mistake(where, text, "remove one of them")


def _host(url: str) -> str:
    """Return the host name of an address in lower case, without port, user and trailing dot."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""

"""Builds the feed and the venue of a live run from its configuration: adapters, keys and addresses.

Each adapter is imported only when it is used: one of them takes seconds to import.
"""

import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from quantd.adapters.feeds.bars.stamps import interval_ns
from quantd.adapters.feeds.live.feed import Live
from quantd.adapters.feeds.live.slice_builder import PutAside
from quantd.adapters.feeds.source import Source, SourceError
from quantd.adapters.feeds.vendor import FileWrong, Request
from quantd.adapters.feeds.wrappers.cache import Cached
from quantd.adapters.feeds.wrappers.fallback import Fallback
from quantd.adapters.feeds.wrappers.interval import Resampled, ResampledStream
from quantd.adapters.feeds.wrappers.retry import Retried
from quantd.adapters.store.lease import account_key
from quantd.daemon.assembly.brokers import broker_of, venues
from quantd.daemon.assembly.feeds import source_of, stream_of, vendors
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Config, secret
from quantd.trading.ports import Broker, LiveFeed
from quantd.trading.sessions import interval_text

RETRY_FOR_S: Final = 30.0
"""Seconds for which one request to a vendor is retried; after that the feed starts a new request."""


Reach = Callable[[Parts, str, Path, PutAside, Callable[[], int]], tuple[LiveFeed, Broker | None]]
"""The type of `reach`, which tests replace."""


def reach(
    parts: Parts, run: str, folder: Path, put_aside: PutAside, now: Callable[[], int]
) -> tuple[LiveFeed, Broker | None]:
    """The configured feed and venue, not yet connected. Raises SourceError, FeedError or VenueError."""
    return feed_of(parts, folder, put_aside, now), broker_of(parts.config, parts.universe, run)


def feed_of(parts: Parts, folder: Path, put_aside: PutAside, now: Callable[[], int] = time.time_ns) -> Live:
    """The feed with its fallbacks: each vendor with retries and a cache on disk. Raises SourceError and FeedError.

    `folder` has the cache. With the key `build_from` of [feed] the vendor delivers finer bars, from which the run's
    bars are built. A stream (bars that the vendor pushes) is used without fallbacks only. `put_aside` takes bars that
    are not sound.
    """
    table = parts.config.feed
    finer_ns = interval_ns(table.build_from) if table.build_from else 0
    interval = table.build_from or interval_text(parts.interval_ns)
    sources: list[Source] = []
    for kind in (table.kind, *table.fallback):
        try:
            vendor = source_of(kind, request_of(parts, kind, interval))
        except FileWrong as error:
            raise SourceError("[feed] mapping", str(error), again=False) from None  # not tried again
        source: Source = Cached(
            Retried(vendor, deadline_s=RETRY_FOR_S), parts.universe, interval, folder / "bars", now=now
        )
        if finer_ns:
            source = Resampled(
                source, parts.universe, parts.sessions, parts.interval_ns, finer_ns, now=now, settle_ns=table.grace_ns
            )
        sources.append(source)
    try:
        source_of_bars = Fallback(sources, parts.universe) if len(sources) > 1 else sources[0]
    except ValueError as error:
        raise SourceError("[feed] fallback", str(error), again=False) from None
    stream = None
    if table.stream and not table.fallback:
        stream = stream_of(table.kind, request_of(parts, table.kind, interval))
        if finer_ns and stream is not None:
            stream = ResampledStream(stream, parts.universe, parts.sessions, parts.interval_ns, finer_ns)
    return Live(
        source_of_bars,
        stream,
        universe=parts.universe,
        sessions=parts.sessions,
        interval_ns=parts.interval_ns,
        grace_ns=table.grace_ns,
        now=now,
        put_aside=put_aside,
    )


def request_of(parts: Parts, kind: str, interval: str) -> Request:
    """The options of [feed] for a vendor; its key `url` applies to the first vendor only."""
    config, table = parts.config, parts.config.feed
    mapping = config.at(table.mapping) if table.mapping else None
    actions = config.at(table.actions) if table.actions else None
    url = table.url if kind == table.kind else ""
    if not url and kind == config.broker.kind and vendors()[kind].at_broker:
        venue = venues()[kind]
        url = config.broker.url or (venue.live_url if config.quantd.mode == "live" else venue.paper_url)
    return Request(
        parts.universe, interval, url=url, plan=table.plan, venue=table.venue, mapping=mapping, zone=table.zone,
        actions=actions,
    )  # fmt: skip


def account_of(config: Config) -> str:
    """The key of the traded account: from venue, address and API key, or from the name of a simulated account."""
    venue = venues()[config.broker.kind]
    if not venue.broker:
        return account_key(venue.kind, config.quantd.name)
    identity = f"{config.broker.venue}|{config.broker.url}|{secret(venue.key) or '' if venue.key else ''}"
    return account_key(venue.kind, blake2b(identity.encode(), digest_size=8).hexdigest())

"""Brokers by kind. The library of a venue is imported when the venue is opened."""

from collections.abc import Mapping
from typing import cast

from quantd.adapters.brokers.venue import Login, Venue
from quantd.adapters.plugins import function, records
from quantd.daemon.config import Config, secret
from quantd.trading.instruments import Universe
from quantd.trading.ports import Broker


def venues() -> Mapping[str, Venue]:
    """Every broker by its kind."""
    return records("quantd.adapters.brokers", Venue, "quantd.brokers")


def login_of(config: Config, universe: Universe, run: str) -> Login:
    """The login of [broker]; in every mode but live that of the venue's sandbox."""
    table = config.broker
    return Login(
        universe,
        run,
        {name: secret(name) or "" for name in venues()[table.kind].secrets},
        live=config.quantd.mode == "live",
        url=table.url,
        venue=table.venue,
        timeout_s=table.timeout_ns / 1e9,
        settle_s=table.settle_ns / 1e9,
    )


def broker_of(config: Config, universe: Universe, run: str) -> Broker | None:
    """The venue of orders, not yet connected; None for a simulated one. Raises VenueError."""
    venue = venues()[config.broker.kind]
    return cast(Broker, function(venue.broker)(login_of(config, universe, run))) if venue.broker else None


async def may_withdraw(config: Config, universe: Universe) -> bool | None:
    """Whether the key of [broker] permits withdrawals; None where unknown. Raises the adapter's errors."""
    venue = venues()[config.broker.kind]
    if not venue.may_withdraw:
        return None
    return cast(bool | None, await function(venue.may_withdraw)(login_of(config, universe, "doctor00")))

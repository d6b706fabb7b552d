"""Brokers by kind. A venue's library is imported when it is opened."""

from collections.abc import Mapping

from quantd.adapters.brokers.venue import Login, Venue
from quantd.adapters.plugins import function, records
from quantd.daemon.config import Config, secret
from quantd.trading.instruments import Universe
from quantd.trading.ports import Broker


def venues() -> Mapping[str, Venue]:
    """Every broker by its kind."""
    return records("quantd.adapters.brokers", Venue, "quantd.brokers")


def login_of(config: Config, universe: Universe, run: str) -> Login:
    """The account that [broker] names: in every mode but live the venue's sandbox."""
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
    """The venue that orders go to, not yet connected; None where they are simulated. Raises VenueError."""
    venue = venues()[config.broker.kind]
    if not venue.broker:
        return None
    made: Broker = function(venue.broker)(login_of(config, universe, run))
    return made


async def may_withdraw(config: Config, universe: Universe) -> bool | None:
    """Whether the key of [broker] may withdraw; None where that is not known. Raises what the adapter raises."""
    venue = venues()[config.broker.kind]
    if not venue.may_withdraw:
        return None
    may: bool | None = await function(venue.may_withdraw)(login_of(config, universe, "doctor00"))
    return may

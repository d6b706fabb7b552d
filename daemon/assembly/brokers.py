"""Brokers by kind. The library of a venue is imported when the venue is opened."""

from collections.abc import Mapping
from typing import cast

from quantd.adapters.brokers.account_exit import AccountExit
from quantd.adapters.brokers.venue import Login, Venue
from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.adapters.plugins import function
from quantd.daemon.config import Config, secret
from quantd.records import records
from quantd.trading.instruments import Universe
from quantd.trading.ports import Broker, Delists


def venues() -> Mapping[str, Venue]:
    """Return every kind of broker, by its name in config.toml."""
    return records("quantd.adapters.brokers", Venue, "quantd.brokers")


def login_of(config: Config, universe: Universe, run: str) -> Login:
    """Return the login of [broker]: to the live venue in mode live, else to the venue's sandbox."""
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
    """Return the venue to which orders are sent, not yet connected; None for a simulated venue.

    Raises VenueError for missing keys and unsupported settings.
    """
    venue = venues()[config.broker.kind]
    return cast(Broker, function(venue.broker)(login_of(config, universe, run))) if venue.broker else None


async def may_withdraw(config: Config, universe: Universe) -> bool | None:
    """Whether the API key of [broker] permits withdrawals; None if unknown. Raises the adapter's errors."""
    venue = venues()[config.broker.kind]
    if not venue.may_withdraw:
        return None
    return cast(bool | None, await function(venue.may_withdraw)(login_of(config, universe, "doctor00")))


def account_exit(name: str, *, live: bool, url: str, currency: str, timeout_s: float) -> AccountExit:
    """Return the emergency exit of an account, which cancels orders and closes positions by API keys; not yet
    connected.

    `name` is a venue or a crypto exchange. With `live` the account is the one with money, else that of the venue's
    sandbox. Raises VenueError when the name is wrong, KeysRefused when a key is missing.
    """
    # any other name is the name of a crypto exchange, which ccxt connects
    venue = venues().get(name) or venues()["ccxt"]
    if not venue.account_exit or name == "ccxt":  # ccxt is a library, not an exchange with an account
        fault = "no venue with an emergency exit"
        raise VenueError(f'"{name}"', fault, "Name alpaca, ibkr, or an exchange such as kraken")
    keys = {secret_name: secret(secret_name) or "" for secret_name in venue.secrets}
    if missing_variables := [f"QUANTD_{secret_name.upper()}" for secret_name, value in keys.items() if not value]:
        raise KeysRefused(name, f"{' and '.join(missing_variables)} not set", "Set them, or give systemd credentials")
    exchange = "" if name == venue.kind else name
    universe = Universe((), currency=currency)
    login = Login(universe, "emergency", keys, live=live, url=url, venue=exchange, timeout_s=timeout_s)
    return cast(AccountExit, function(venue.account_exit)(login))


def untradable_of(venue: object) -> dict[int, str]:
    """Return, by column of a symbol, the reason why the venue does not trade the symbol."""
    return venue.untradable if isinstance(venue, Delists) else {}

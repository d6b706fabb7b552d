"""Spot crypto exchanges as a broker, through ccxt."""

from typing import Final

from quantd.adapters.brokers.venue import Venue
from quantd.adapters.exchange.dialects import DIALECTS
from quantd.adapters.plugins import Option

VENUE: Final = Venue(
    "ccxt",
    broker="quantd.adapters.brokers.ccxt.broker:broker",
    may_withdraw="quantd.adapters.brokers.ccxt.broker:may_withdraw",
    account_exit="quantd.adapters.brokers.ccxt.liquidation:account_exit",
    key="ccxt_key",
    options=(Option("url"), Option("venue", missing='name the exchange, venue = "kraken"')),
    secrets={
        "ccxt_key": "key of the account at a crypto exchange",
        "ccxt_secret": "secret of the account at a crypto exchange",
    },
    rounding_micro=1_000,  # at most half a micro-unit an execution, in both directions
    stops_at=tuple(name for name, dialect in DIALECTS.items() if dialect.stops),
    exchanges=tuple(DIALECTS),
    module="ccxt",
    extra="ccxt",
)

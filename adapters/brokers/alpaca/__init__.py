"""The Alpaca broker."""

from typing import Final

from quantd.adapters.brokers.venue import Venue
from quantd.adapters.plugins import Option

VENUE: Final = Venue(
    "alpaca",
    broker="quantd.adapters.brokers.alpaca.broker:broker",
    may_withdraw="quantd.adapters.brokers.alpaca.broker:may_withdraw",
    account_exit="quantd.adapters.brokers.alpaca.liquidation:account_exit",
    key="alpaca_key",
    options=(Option("url"),),
    secrets={
        "alpaca_key": "key of the account at Alpaca",
        "alpaca_secret": "secret of the account at Alpaca",
    },
    paper_url="https://paper-api.alpaca.markets",
    live_url="https://api.alpaca.markets",
    # docs.alpaca.markets/docs/crypto-fees: the first tier of a taker; listed at the end of the day
    coin_fee_bp=25.0,
)

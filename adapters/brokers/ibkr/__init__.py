"""The broker at Interactive Brokers, through a gateway of the vendor and ib_async."""

from typing import Final

from quantd.adapters.brokers.venue import Venue
from quantd.adapters.plugins import Option

VENUE: Final = Venue(
    "ibkr",
    broker="quantd.adapters.brokers.ibkr.broker:broker",
    may_withdraw="quantd.adapters.brokers.ibkr.broker:may_withdraw",
    account_exit="quantd.adapters.brokers.ibkr.liquidation:account_exit",
    key="ibkr_account",
    options=(Option("url"),),
    secrets={"ibkr_account": "number of the account at Interactive Brokers: U... with money, DU... on paper"},
    paper_url="127.0.0.1:4002",
    live_url="127.0.0.1:4001",
    module="ib_async",
    extra="ibkr",
)

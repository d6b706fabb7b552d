"""Venues that execute orders: the simulated venue, Alpaca, Interactive Brokers, and crypto exchanges through ccxt."""

from typing import Final

HELPERS: Final = ("account_exit", "execution_log", "order_log", "unreadable", "venue", "venue_errors")
"""Modules of this package without a venue."""

"""The simulated venue."""

from typing import Final

from quantd.adapters.brokers.venue import Venue

VENUE: Final = Venue("paper")

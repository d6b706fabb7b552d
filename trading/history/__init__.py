"""Recent market data in buffers of fixed size, as policies read it: closes, bars and macro series."""

from quantd.trading.history.rings import History, Ring, RunningSums

__all__ = ["History", "Ring", "RunningSums"]

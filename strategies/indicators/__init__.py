"""Technical indicators: one table from a name to what it is made of, for one bar and for a whole history."""

from quantd.strategies.indicators.table import INDICATORS, Indicator, batch, build, stream

__all__ = ["INDICATORS", "Indicator", "batch", "build", "stream"]

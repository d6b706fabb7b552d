"""Technical indicators: one table from a name to its definition, for single bars and whole histories."""

from quantd.strategies.indicators.table import INDICATORS, batch, build, stream

__all__ = ["INDICATORS", "batch", "build", "stream"]

"""Technical indicators: one table from name to definition, computed bar by bar or over whole histories."""

from quantd.strategies.indicators.table import INDICATORS, batch, build, stream

__all__ = ["INDICATORS", "batch", "build", "stream"]

"""Commands that backtest and study policies."""

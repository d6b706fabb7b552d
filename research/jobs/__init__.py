"""Jobs during a run: its scheduled comparison with a backtest, and backtests and sweeps that a person starts."""

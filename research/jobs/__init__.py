"""Jobs of schedules that compare a run with a backtest."""

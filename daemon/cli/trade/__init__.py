"""Commands that trade or replay: run, backtest, replay, study."""

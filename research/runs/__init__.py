"""One run measured: a backtest over its market, the record of a run, and the test whether two runs are comparable."""

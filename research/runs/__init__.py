"""One run measured: a backtest driven over its market, the record of a run, what makes two runs comparable."""

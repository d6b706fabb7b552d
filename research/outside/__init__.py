"""Outside agents in a backtest: their questions, answers, stored answers and the test for knowledge of the future."""

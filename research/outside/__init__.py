"""Outside agents (programs that are asked for weights) in a backtest: questions, answers, and a test for foresight."""

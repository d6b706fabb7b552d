"""Studies: many runs of one question, such as look-ahead, parity, rebalancing rules and rankings of policies."""

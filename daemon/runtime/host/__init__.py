"""The host of the fold, the engine's compiled fast path: loads the state into columns, runs it, records what it did."""

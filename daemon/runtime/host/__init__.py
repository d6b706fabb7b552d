"""The host of the fold: it loads the state into columns, runs the fold, and records what it did."""

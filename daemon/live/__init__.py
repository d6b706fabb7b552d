"""The live session: market-data feed, order sender and reconciler of a run."""

"""The fold of the engine: bars, samples and rounds of a market over typed columns. `fold.Core` owns them."""

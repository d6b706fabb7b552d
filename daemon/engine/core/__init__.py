"""The fold, the engine's compiled fast path: bars, samples and rounds of decisions in typed columns of `fold.Core`."""

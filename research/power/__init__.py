"""The power of a learner: its gain from a signal of known strength, as a share of the gain of a rule that knows it."""

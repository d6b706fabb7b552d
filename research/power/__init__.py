"""The power of a learner: its gain from a planted signal, as a share of the gain of a rule that knows the signal."""

"""Power: what a learner finds of a signal of known strength, as a share of what a rule that knows it can earn."""

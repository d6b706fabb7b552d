"""Studies of runs, policies and their results."""

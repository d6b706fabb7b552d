"""A recorded market that many simulated accounts trade at once."""

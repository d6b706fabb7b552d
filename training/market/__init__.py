"""A recorded market traded by many simulated accounts at once."""

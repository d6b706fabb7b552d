"""Venues: the simulated one and the networked ones."""

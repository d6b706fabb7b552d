"""The monitor: levels of the limits of what is held."""

"""The monitor: alert levels of the limits at the present positions."""

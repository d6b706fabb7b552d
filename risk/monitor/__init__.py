"""The monitor: alert levels of the risk limits at the present positions."""

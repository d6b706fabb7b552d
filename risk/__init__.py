"""Pre-trade risk: measures, limits, and the gate that decides how much of each order passes, without side effects."""

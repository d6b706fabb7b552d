"""Pre-trade risk: measures, limits, and the gate that decides how much of each intended order is permitted. Pure."""

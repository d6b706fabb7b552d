"""Risk limits: one module for each kind of risk, and what they share."""

"""View to target weights: policies, indicators and sizing. Pure."""

"""Policies (functions from a market view to target weights), indicators and sizing, all without side effects."""

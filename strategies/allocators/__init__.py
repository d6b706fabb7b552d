"""Weights from estimates: pure functions in numpy, by column, long-only. What policies are made of."""

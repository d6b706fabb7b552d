"""Bars as values: rows, times, checks, merging."""

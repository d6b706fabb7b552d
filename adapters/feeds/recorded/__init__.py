"""Recorded markets, read from files."""

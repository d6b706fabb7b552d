"""Recorded sessions by assets, read from files and split into parts."""

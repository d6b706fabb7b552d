"""Recorded sessions as tables (sessions by assets), read from files and split into training and test parts."""

"""Processes without rights, in which graphs and policy files run: what they may do, read and take."""

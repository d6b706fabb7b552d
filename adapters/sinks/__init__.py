"""Sinks: receivers of alerts beside the bus, one in each module."""

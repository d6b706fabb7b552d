"""Sinks: receivers of alerts besides the MQTT bus, one in each module."""

"""Sinks: receivers of alerts besides the MQTT bus, one in each module."""

from typing import Final

HELPERS: Final = ("alert_text", "http_post", "secret_address", "sink")
"""Modules of this package without a sink."""

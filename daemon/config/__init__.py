"""Parses config.toml into frozen values. Each mistake has its line, its value and a remedy."""

from quantd.daemon.config.agent_tables import Agent
from quantd.daemon.config.document import Config, applicable, digest, flat
from quantd.daemon.config.known import Known
from quantd.daemon.config.mistakes import ConfigError, Mistake
from quantd.daemon.config.overrides import of_keys, secret, store_url
from quantd.daemon.config.parser import load, read
from quantd.daemon.config.risk_tables import LimitKey, Limits

__all__ = [
    "Agent",
    "Config",
    "ConfigError",
    "Known",
    "LimitKey",
    "Limits",
    "Mistake",
    "applicable",
    "digest",
    "flat",
    "load",
    "of_keys",
    "read",
    "secret",
    "store_url",
]

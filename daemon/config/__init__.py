"""Parses config.toml into frozen values. Each mistake has its line, its value and a remedy."""

from quantd.daemon.config.agent_tables import Agent
from quantd.daemon.config.document import NOT_TRADING, RELOADABLE, Config, digest, flat, reloading
from quantd.daemon.config.known import PROFILES, Known
from quantd.daemon.config.mistakes import ConfigError, Mistake, Source
from quantd.daemon.config.overrides import SECRETS, secret, store_url
from quantd.daemon.config.parser import load, read
from quantd.daemon.config.risk_tables import LimitKey, Limits, Risk
from quantd.daemon.config.schema import Alerts, Api, Broker, Bus, Feed, Log, Quantd, Schedule, Store

__all__ = [
    "NOT_TRADING",
    "PROFILES",
    "RELOADABLE",
    "SECRETS",
    "Agent",
    "Alerts",
    "Api",
    "Broker",
    "Bus",
    "Config",
    "ConfigError",
    "Feed",
    "Known",
    "LimitKey",
    "Limits",
    "Log",
    "Mistake",
    "Quantd",
    "Risk",
    "Schedule",
    "Source",
    "Store",
    "digest",
    "flat",
    "load",
    "read",
    "reloading",
    "secret",
    "store_url",
]

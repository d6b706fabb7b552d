"""config.toml parsed at the edge into frozen values; every mistake with its line, value and remedy."""

from daemon.config.checks import PROFILES, Known
from daemon.config.config import NOT_TRADING, RELOADABLE, Config, digest, flat, reloading
from daemon.config.limits import Correlation, Limits, Risk, Tail
from daemon.config.mistakes import ConfigError, Mistake, Source
from daemon.config.overrides import NOT_KEYS, SECRETS
from daemon.config.reading import load, read
from daemon.config.schema import Agent, Alerts, Api, Broker, Bus, Feed, Log, Quantd, Schedule, Store
from daemon.config.secrets import secret, store_url

__all__ = [
    "NOT_KEYS",
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
    "Correlation",
    "Feed",
    "Known",
    "Limits",
    "Log",
    "Mistake",
    "Quantd",
    "Risk",
    "Schedule",
    "Source",
    "Store",
    "Tail",
    "digest",
    "flat",
    "load",
    "read",
    "reloading",
    "secret",
    "store_url",
]

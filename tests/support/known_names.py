"""Names that a small configuration may use, and its text."""

from quantd.adapters.sinks.sink import Selection
from quantd.adapters.sinks.webhook import WebhookOptions
from quantd.daemon.assembly.job_records import jobs
from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import Known

KNOWN = Known(
    policies=("equal_weight", "inverse_volatility", "momentum"),
    calendars=("XNYS", "XLON", "24/7"),
    parameters={"momentum": ("lookback", "skip")},
    feeds=("replay", "yfinance", "alpaca", "ccxt"),
    brokers=("paper", "alpaca", "ccxt"),
    jobs=tuple(jobs()),
    stops_at={"ccxt": ("kraken",)},
    limits=limit_keys(),
    sinks={"webhook": WebhookOptions},
    selection=Selection,
)

SMALL = """\
[universe]
symbols = ["SPY", "QQQ"]
[feed]
path = "bars.parquet"
[broker]
cash = "1000.00"
[risk]
max_drawdown = 0.25
[[agents]]
name = "one"
policy = "momentum"
capital = 0.5
"""

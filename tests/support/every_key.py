"""A configuration with each table, and the names that it may use."""

from quantd.adapters.sinks.webhook import WebhookOptions
from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import Known

KNOWN = Known(
    policies=("momentum", "equal_weight", "external"),
    calendars=("XNYS", "XLON"),
    feeds=("replay", "yfinance", "alpaca", "ccxt"),
    brokers=("paper", "alpaca", "ccxt"),
    limits=limit_keys(),
    sinks={"webhook": WebhookOptions},
)

LIMITS = """\
var = { limit = 0.03 }
cvar = { limit = 0.03 }
correlation = { joint_weight = 0.5 }
liquidity = { days = 5 }
order_rate = { orders = 10 }
protective = { stop_loss = 0.2 }
group_caps = [{ group = "large", cap = 0.5 }]
stress = { limit = 0.5, scenarios = ["crash"] }
"""

TEXT = """\
[universe]
symbols = ["SPY", "QQQ"]
[[universe.instruments]]
symbol = "QQQ"
[[universe.groups]]
name = "large"
symbols = ["SPY"]
[[universe.groups]]
name = "other"
symbols = ["SPY"]
[feed]
path = "bars.parquet"
macro = [{ name = "vix", path = "vix.csv" }]
series = [{ name = "esg", path = "esg.csv" }]
[broker]
cash = "1000.00"
[risk]
regime = { above = 0.25, exposure = 0.6 }
LIMITS
[[risk.shocks]]
name = "crash"
moves = [{ of = "*", by = -0.2 }]
[[agents]]
name = "one"
policy = "momentum"
capital = 0.5
[agents.limits]
LIMITS
[agents.sizing]
regime = { bear = 0.4 }
risk_budget = [{ symbol = "SPY", volatility = 0.05 }]
[agents.rebalance]
cost_aware = { horizon = 21 }
[[agents]]
name = "two"
policy = "momentum"
capital = 0.1
[gateway]
[manual]
capital = 0.1
[manual.limits]
LIMITS
[portfolios]
places = 2
[portfolios.limits]
LIMITS
[capital]
method = "regime"
volatility_of = "house"
[[capital.regimes]]
name = "calm"
shares = [{ agent = "two", share = 0.5 }]
[[schedules]]
name = "daily"
do = "rebalance"
at = "close"
[[schedules]]
name = "shares"
do = "reallocate"
at = "open"
[bus]
tls = { certificate = "a", key = "b" }
[alerts]
dead_man = { url = "https://a/1" }
sinks.webhook.url = "https://b/"
[api]
tls = { certificate = "a", key = "b" }
""".replace("LIMITS\n", LIMITS)

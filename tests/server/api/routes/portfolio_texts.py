"""A configuration with two places for portfolios, and a portfolio."""

from tests.support.command_line import CONFIG

PORTFOLIOS = (
    CONFIG.replace("capital = 0.5", "capital = 0.2")
    .replace("capital = 0.4", "capital = 0.2")
    .replace("max_position_weight = 0.25", "max_position_weight = 0.6")
    + "\n[portfolios]\nplaces = 2\nlimits = { max_position_weight = 0.5, allow_short = false }\n"
)
CORE = {"name": "core", "weights": {"SPY": 0.4, "IWM": 0.3}, "capital": "20000", "reason": "a mandate"}

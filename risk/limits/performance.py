"""Limits on what a book earned: losses, which move the switch, and measures that are watched and cut no order."""

from typing import Final

from quantd.risk.limits.record import Limit, higher

LIMITS: Final = (
    Limit(
        "max_drawdown",
        250,
        "drawdown from the highest equity",
        example="max_drawdown = 0.25",
        profiles={"conservative": 0.10, "balanced": 0.15, "aggressive": 0.35},
    ),
    Limit(
        "max_daily_loss",
        260,
        "loss of this day",
        example="max_daily_loss = 0.05",
        profiles={"conservative": 0.02, "balanced": 0.05, "aggressive": 0.10},
    ),
    Limit(
        "max_weekly_loss",
        270,
        "loss of this week",
        example="max_weekly_loss = 0.1",
        profiles={"conservative": 0.04, "balanced": 0.10, "aggressive": 0.20},
    ),
    Limit(
        "max_realised_volatility",
        310,
        "realised volatility a year (watched, cuts no order)",
        example="max_realised_volatility = 0.25",
        profiles={"conservative": 0.15, "balanced": 0.25, "aggressive": 0.40},
    ),
    Limit(
        "min_diversification",
        320,
        "diversification, 1 - 1 / diversification ratio (watched, cuts no order)",
        "number",
        example="min_diversification = 0.3",
        floor=True,
        tighter=higher,
        profiles={"conservative": 0.3, "balanced": 0.3},
    ),
    Limit(
        "min_sharpe",
        330,
        "Sharpe ratio (watched, cuts no order)",
        "number",
        example="min_sharpe = 0.5",
        floor=True,
        tighter=higher,
        profiles={"conservative": 0.5, "balanced": 0.5},
    ),
)

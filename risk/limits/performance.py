"""Limits on results: losses, which move the trading switch to REDUCE or HALT, and measures that only raise alerts."""

from typing import Final

from quantd.risk.limits.bounds import ANNUAL, FRACTION, SHARE, Bounds, higher
from quantd.risk.limits.record import Limit

LIMITS: Final = (
    Limit(
        "max_drawdown",
        250,
        "drawdown since the last resume",
        example="max_drawdown = 0.25",
        profiles={"conservative": 0.10, "balanced": 0.15, "aggressive": 0.35},
        bounds=SHARE,
        section="losses",
        about="drawdown from the highest equity since the last resume",
        formula="`1 − E0 / highest E0 ≤ limit`",
        equity="highest E0",
    ),
    Limit(
        "max_daily_loss",
        260,
        "loss of this day",
        example="max_daily_loss = 0.05",
        profiles={"conservative": 0.02, "balanced": 0.05, "aggressive": 0.10},
        bounds=SHARE,
        section="losses",
        about="fall since the last close of the day before",
        formula="`1 − E0 / last E0 before this day ≤ limit`",
        equity="last E0 before this day",
    ),
    Limit(
        "max_weekly_loss",
        270,
        "loss of this week",
        example="max_weekly_loss = 0.1",
        profiles={"conservative": 0.04, "balanced": 0.10, "aggressive": 0.20},
        bounds=SHARE,
        section="losses",
        about="fall since the last close of the week before; weeks begin on Monday",
        formula="`1 − E0 / last E0 before this week ≤ limit`",
        equity="last E0 before this week",
    ),
    Limit(
        "max_realised_volatility",
        310,
        "realised volatility a year (watched, cuts no order)",
        example="max_realised_volatility = 0.25",
        profiles={"conservative": 0.15, "balanced": 0.25, "aggressive": 0.40},
        bounds=ANNUAL,
        section="alerts",
        about="annual volatility of the book's own returns",
        formula="`√252 × deviation(r) ≤ limit`",
        equity="each return: E0 one sample before",
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
        bounds=FRACTION,
        section="alerts",
        about="share of the stand-alone risk that diversification removes, over `volatility_lookback` samples",
        formula=(
            "`1 − √(Σᵢ Σⱼ Cᵢⱼ vᵢ vⱼ) / Σᵢ √Cᵢᵢ × abs(vᵢ) ≥ limit`, with the sample covariance `C` and the "
            "present positions `v = q × p`"
        ),
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
        bounds=Bounds(0, 10),
        section="alerts",
        about="Sharpe ratio of the book's own returns",
        formula="`√252 × (mean(r) − rate / 252) / deviation(r) ≥ limit`",
        equity="each return: E0 one sample before",
    ),
)

"""Random sets of limits."""

import random
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from quantd.risk.limits.catalogue import (
    PROFILES,
    Correlation,
    Limits,
    Liquidity,
    Protective,
    Rate,
    Stress,
    Tail,
    override,
)
from quantd.risk.measures.stress import Shock
from quantd.trading.instruments import Universe
from quantd.trading.sessions import DAY_NS

from .market import MINUTE_NS

Options = dict[str, Callable[[], Any]]
"""Key of a limit -> a random value of it."""


def _tail(draw: random.Random, low: float, high: float) -> Tail:
    return Tail(
        limit=_between(draw, low, high),
        method=draw.choice(("historical", "historical", "historical", "filtered", "parametric", "ewma")),
        confidence=draw.choice((0.9, 0.95, 0.99)),
        horizon=draw.choice((1, 1, 5)),
        lookback=draw.choice((30, 60)),
    )


def _between(draw: random.Random, low: float, high: float) -> float:
    """A number between two, even in logarithm."""
    return float(low * (high / low) ** draw.random())


def limits_of(
    draw: random.Random, universe: Universe, interval: int, fee_bp: float, share: float | None = None, always: str = ""
) -> Limits:
    """A set of limits, each key on in some worlds, tight or loose; `share` is the probability of a
    key, and `always` one that is on."""
    share = draw.choice((0.0, 0.1, 0.25, 0.5)) if share is None else share

    def on() -> bool:
        return draw.random() < share

    base = PROFILES[draw.choice(("research", "balanced", "aggressive"))] if draw.random() < 0.2 else Limits()
    keys: dict[str, Any] = {
        "max_price_age_ns": interval * draw.choice((2, 4)) + 2 * DAY_NS,
        "min_history": draw.choice((5, 20)),
        "fee_bp": fee_bp,
        "allow_short": draw.random() < 0.6,
    }
    options = {**_of_positions(draw, universe.symbols), **_of_orders(draw), **_of_statistics(draw, universe.symbols)}
    keys.update({name: make() for name, make in options.items() if on() or name == always})
    keys.setdefault("volatility_lookback", 60)
    limits = override(base, **keys)
    for name in ("var", "cvar", "correlation"):
        spec = getattr(limits, name)
        if spec is not None and spec.lookback > 60:
            limits = override(limits, **{name: replace(spec, lookback=60)})
    return limits


def _shocks(draw: random.Random, symbols: tuple[str, ...]) -> tuple[Shock, ...]:
    shocks = [Shock("crash", {"technology": -0.5, "bonds": 0.05, "*": -0.3}), Shock("rally", {"*": 0.25})]
    if draw.random() < 0.5:
        shocks.append(Shock("one", {"*": 0.0}, {draw.choice(symbols): -0.8}))
    if draw.random() < 0.2:
        shocks.append(Shock("known for one sector", {"technology": -0.4}))
    return tuple(shocks)


def _protective(draw: random.Random) -> Protective:
    return Protective(
        stop_loss=_between(draw, 0.01, 0.2) if draw.random() < 0.8 else None,
        take_profit=_between(draw, 0.02, 0.4) if draw.random() < 0.6 else None,
        trailing=draw.random() < 0.4,
        cooldown=draw.choice((0, 1, 5)),
        at_venue=draw.random() < 0.4,
    )


def _of_positions(draw: random.Random, symbols: tuple[str, ...]) -> Options:
    """Limits of positions and of cash."""
    return {
        "in_flight": lambda: _between(draw, 0.005, 0.3),
        "max_cash_debit": lambda: _between(draw, 0.01, 1.0),
        "cash_reserve": lambda: _between(draw, 0.005, 0.3),
        "restricted": lambda: (draw.choice(symbols),),
        "max_position_weight": lambda: _between(draw, 0.03, 0.9),
        "max_gross_exposure": lambda: _between(draw, 0.2, 2.0),
        "max_net_exposure": lambda: _between(draw, 0.1, 1.2),
        "max_leverage": lambda: _between(draw, 0.3, 2.0),
        "max_sector_weight": lambda: _between(draw, 0.1, 0.9),
        "group_caps": lambda: (("first", _between(draw, 0.1, 0.9)),),
        "max_concentration": lambda: _between(draw, 0.1, 0.9),
        "max_herfindahl": lambda: _between(draw, 0.1, 0.9),
    }


def _of_orders(draw: random.Random) -> Options:
    """Limits of orders, and protective levels."""
    return {
        "collar": lambda: _between(draw, 0.005, 0.2),
        "reduce_collar": lambda: _between(draw, 0.01, 0.3),
        "flatten_collar": lambda: _between(draw, 0.01, 0.3),
        "duplicate_window_ns": lambda: draw.choice((0, MINUTE_NS, 2 * DAY_NS)),
        "max_order_notional": lambda: _between(draw, 1e3, 1e6),
        "max_share_of_volume": lambda: _between(draw, 0.001, 0.5),
        "liquidity": lambda: Liquidity(_between(draw, 0.1, 20.0), _between(draw, 0.02, 0.5)),
        "max_turnover": lambda: _between(draw, 0.05, 2.0),
        "order_rate": lambda: Rate(draw.randint(1, 30), draw.choice((MINUTE_NS, DAY_NS, 7 * DAY_NS))),
        "max_open_orders": lambda: draw.randint(1, 30),
        "max_orders_per_day": lambda: draw.randint(1, 30),
        "protective": lambda: _protective(draw),
    }


def _of_statistics(draw: random.Random, symbols: tuple[str, ...]) -> Options:
    """Limits of statistics and of losses."""
    return {
        "max_volatility": lambda: _between(draw, 0.05, 0.8),
        "volatility_lookback": lambda: draw.choice((30, 60)),
        "var": lambda: _tail(draw, 0.005, 0.1),
        "cvar": lambda: _tail(draw, 0.008, 0.15),
        "stress": lambda: Stress(_between(draw, 0.05, 0.6), _shocks(draw, symbols)),
        "correlation": lambda: Correlation(
            threshold=_between(draw, 0.2, 0.95),
            joint_weight=_between(draw, 0.1, 0.8),
            min_weight=0.03,
            lookback=draw.choice((30, 60)),
            strict=draw.random() < 0.2,
        ),
        "max_drawdown": lambda: _between(draw, 0.03, 0.5),
        "max_daily_loss": lambda: _between(draw, 0.01, 0.3),
        "max_weekly_loss": lambda: _between(draw, 0.02, 0.4),
        "max_realised_volatility": lambda: _between(draw, 0.05, 0.6),
        "min_diversification": lambda: _between(draw, 0.05, 0.9),
        "min_sharpe": lambda: _between(draw, 0.1, 3.0),
        "average_correlation": lambda: _between(draw, 0.05, 0.8),
    }

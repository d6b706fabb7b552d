"""The policies that ship with quantd, by the name a configuration uses."""

from collections.abc import Callable, Mapping

from strategies.policies.allocating import Allocator
from strategies.policies.black_litterman import make_black_litterman
from strategies.policies.equal_weight import EqualWeight, make_equal_weight
from strategies.policies.fixed_mix import FixedMix, make_fixed_mix
from strategies.policies.growth import make_kelly, make_merton
from strategies.policies.inverse_volatility import InverseVolatility, make_inverse_volatility
from strategies.policies.mean_variance import (
    make_hrp,
    make_max_diversification,
    make_max_sharpe,
    make_mean_variance,
    make_min_cvar,
    make_min_variance,
)
from strategies.policies.momentum import Momentum, make_momentum
from strategies.policies.params import ParamsError, nearest
from strategies.policies.passive import BuyAndHold, HoldAll, make_buy_and_hold, make_hold_all
from strategies.policies.risk_parity import make_risk_parity
from strategies.policies.signals import Signals, make_signals
from trading.ports import Policy

POLICIES: dict[str, Callable[[Mapping[str, object]], Policy]] = {
    "black_litterman": make_black_litterman,
    "buy_and_hold": make_buy_and_hold,
    "equal_weight": make_equal_weight,
    "fixed_mix": make_fixed_mix,
    "hold": make_hold_all,
    "hrp": make_hrp,
    "inverse_volatility": make_inverse_volatility,
    "kelly": make_kelly,
    "max_diversification": make_max_diversification,
    "max_sharpe": make_max_sharpe,
    "mean_variance": make_mean_variance,
    "merton": make_merton,
    "min_cvar": make_min_cvar,
    "min_variance": make_min_variance,
    "momentum": make_momentum,
    "risk_parity": make_risk_parity,
    "signals": make_signals,
}
"""Registered name -> a function of its parameters; it raises ParamsError for wrong ones."""

__all__ = [
    "POLICIES",
    "Allocator",
    "BuyAndHold",
    "EqualWeight",
    "FixedMix",
    "HoldAll",
    "InverseVolatility",
    "Momentum",
    "ParamsError",
    "Signals",
    "nearest",
]

"""The policies that ship with quantd, by the name a configuration uses."""

from collections.abc import Callable, Mapping

from strategies.policies.equal_weight import EqualWeight, make_equal_weight
from strategies.policies.fixed_mix import FixedMix, make_fixed_mix
from strategies.policies.inverse_volatility import InverseVolatility, make_inverse_volatility
from strategies.policies.momentum import Momentum, make_momentum
from strategies.policies.params import ParamsError, nearest
from strategies.policies.passive import BuyAndHold, HoldAll, make_buy_and_hold, make_hold_all
from strategies.policies.risk_parity import RiskParity, make_risk_parity
from strategies.policies.signals import Signals, make_signals
from trading.ports import Policy

POLICIES: dict[str, Callable[[Mapping[str, object]], Policy]] = {
    "buy_and_hold": make_buy_and_hold,
    "equal_weight": make_equal_weight,
    "fixed_mix": make_fixed_mix,
    "hold": make_hold_all,
    "inverse_volatility": make_inverse_volatility,
    "momentum": make_momentum,
    "risk_parity": make_risk_parity,
    "signals": make_signals,
}
"""Registered name -> a function of its parameters; it raises ParamsError for wrong ones."""

__all__ = [
    "POLICIES",
    "BuyAndHold",
    "EqualWeight",
    "FixedMix",
    "HoldAll",
    "InverseVolatility",
    "Momentum",
    "ParamsError",
    "RiskParity",
    "Signals",
    "nearest",
]

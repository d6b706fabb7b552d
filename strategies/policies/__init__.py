"""The policies that ship with quantd, by the name a configuration uses."""

from collections.abc import Callable, Mapping

from strategies.policies.equal_weight import EqualWeight, equal_weight
from strategies.policies.fixed_mix import FixedMix, fixed_mix
from strategies.policies.inverse_volatility import InverseVolatility, inverse_volatility
from strategies.policies.momentum import Momentum, momentum
from strategies.policies.params import ParamsError, nearest
from strategies.policies.passive import BuyAndHold, HoldAll, buy_and_hold, hold_all
from strategies.policies.risk_parity import RiskParity, risk_parity
from trading.ports import Policy

POLICIES: dict[str, Callable[[Mapping[str, object]], Policy]] = {
    "buy_and_hold": buy_and_hold,
    "equal_weight": equal_weight,
    "fixed_mix": fixed_mix,
    "hold": hold_all,
    "inverse_volatility": inverse_volatility,
    "momentum": momentum,
    "risk_parity": risk_parity,
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
    "nearest",
]

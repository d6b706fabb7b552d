"""The policies that ship with quantd, by the name a configuration uses."""

from collections.abc import Callable, Mapping

from strategies.policies.dynamic import Dynamic, DynamicParams, make_dynamic
from strategies.policies.ensemble import Ensemble, EnsembleParams, make_ensemble
from strategies.policies.equal_weight import EqualWeight, make_equal_weight
from strategies.policies.fixed_mix import FixedMix, make_fixed_mix
from strategies.policies.inverse_volatility import InverseVolatility, make_inverse_volatility
from strategies.policies.members import MAX_DEPTH, Composite, Load, MemberError, MemberFailed
from strategies.policies.momentum import Momentum, make_momentum
from strategies.policies.momentum_tilted import MomentumTilted, MomentumTiltedParams, make_momentum_tilted
from strategies.policies.params import ParamsError, nearest
from strategies.policies.passive import BuyAndHold, HoldAll, make_buy_and_hold, make_hold_all
from strategies.policies.regime_switched import RegimeSwitched, RegimeSwitchedParams, make_regime_switched
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

COMPOSITES: dict[str, Composite] = {
    "dynamic": make_dynamic,
    "ensemble": make_ensemble,
    "momentum_tilted": make_momentum_tilted,
    "regime_switched": make_regime_switched,
}
"""Registered name -> a function of its parameters and of how its members are found."""

COMPOSITE_PARAMS: dict[str, tuple[str, ...]] = {
    "dynamic": DynamicParams.__struct_fields__,
    "ensemble": EnsembleParams.__struct_fields__,
    "momentum_tilted": MomentumTiltedParams.__struct_fields__,
    "regime_switched": RegimeSwitchedParams.__struct_fields__,
}
"""The parameters of composites: they cannot be made without members to ask them."""

__all__ = [
    "COMPOSITES",
    "COMPOSITE_PARAMS",
    "MAX_DEPTH",
    "POLICIES",
    "BuyAndHold",
    "Composite",
    "Dynamic",
    "Ensemble",
    "EqualWeight",
    "FixedMix",
    "HoldAll",
    "InverseVolatility",
    "Load",
    "MemberError",
    "MemberFailed",
    "Momentum",
    "MomentumTilted",
    "ParamsError",
    "RegimeSwitched",
    "RiskParity",
    "Signals",
    "nearest",
]

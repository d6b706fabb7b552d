"""The policies that ship with quantd, by the name a configuration uses."""

from collections.abc import Callable, Mapping

from quantd.strategies.policies.allocator import Allocator
from quantd.strategies.policies.baselines import BuyAndHold, HoldAll, make_buy_and_hold, make_hold_all
from quantd.strategies.policies.black_litterman import make_black_litterman
from quantd.strategies.policies.dynamic_allocation import Dynamic, DynamicParams, make_dynamic
from quantd.strategies.policies.ensemble import Ensemble, EnsembleParams, make_ensemble
from quantd.strategies.policies.equal_weight import EqualWeight, make_equal_weight
from quantd.strategies.policies.feature_rank import Signals, make_signals
from quantd.strategies.policies.fixed_mix import FixedMix, make_fixed_mix
from quantd.strategies.policies.growth import make_kelly, make_merton
from quantd.strategies.policies.inverse_volatility import InverseVolatility, make_inverse_volatility
from quantd.strategies.policies.mean_variance import (
    make_hrp,
    make_max_diversification,
    make_max_sharpe,
    make_mean_variance,
    make_min_cvar,
    make_min_variance,
)
from quantd.strategies.policies.members import MAX_DEPTH, Composite, Load, MemberError, MemberFailed
from quantd.strategies.policies.momentum import Momentum, make_momentum
from quantd.strategies.policies.momentum_tilt import MomentumTilted, MomentumTiltedParams, make_momentum_tilted
from quantd.strategies.policies.params import ParamsError, nearest
from quantd.strategies.policies.regime_switch import RegimeSwitched, RegimeSwitchedParams, make_regime_switched
from quantd.strategies.policies.risk_parity import make_risk_parity
from quantd.trading.ports import Policy

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
    "Allocator",
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
    "Signals",
    "nearest",
]

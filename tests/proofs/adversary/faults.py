"""Faults to plant in the gate. The search must find every one; a search that finds none of them shows nothing."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.risk.limits.catalogue import AccountCap, Limits, override
from quantd.risk.pretrade.gate import RUN, Account, Verdict
from tests.proofs.adversary.arena import Gate, real_gate
from tests.proofs.adversary.duel import match_of
from tests.proofs.adversary.kinds import KINDS
from tests.support import gate_faults


class Fault(NamedTuple):
    """A gate that is wrong; `plant` puts it in place and gives what is to be asked."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], Gate]
    inside: bool = False
    """Whether it changes a method of the gate, which must then be uncompiled."""


# ---- a gate that is not told everything ---------------------------------------------------------------------


def told(name: str, change: Callable[[Account, Any], dict[str, Any]]) -> Fault:
    """A gate that sees another account."""

    def gate(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
        return real_gate(ctx, replace(account, **change(account, ctx)), asked, limits, switch)

    return Fault(name, lambda patch: gate)


def deaf(key: str, **values: Any) -> Fault:
    """A gate that does not read one limit."""
    off = values or {key: () if key in ("restricted", "group_caps") else None}

    def gate(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
        return real_gate(ctx, account, asked, override(limits, **off), switch)

    return Fault(f"{key} is not read", lambda patch: gate)


def loose(key: str, factor: float) -> Fault:
    """A gate that reads a limit as a little more than it is."""

    def gate(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
        value = getattr(limits, key)
        wider = limits if value is None else override(limits, **{key: value * factor})
        return real_gate(ctx, account, asked, wider, switch)

    return Fault(f"{key} is {factor - 1.0:.1%} wider than it says", lambda patch: gate)


def bought(name: str, factor: float) -> Fault:
    """A gate that reads what may be bought as another sum."""

    def gate(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
        power = limits.buying_power
        if power is not None:
            limits = override(limits, buying_power=AccountCap(power.limit * factor, power.money * factor))
        return real_gate(ctx, account, asked, limits, switch)

    return Fault(name, lambda patch: gate)


def rewritten(name: str, change: Callable[[Verdict, Any, Account, Any], Any]) -> Fault:
    """A gate whose verdict is changed on its way out."""

    def gate(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
        verdict = real_gate(ctx, account, asked, limits, switch)
        verdict.lots = change(verdict, ctx, account, asked)
        return verdict

    return Fault(name, lambda patch: gate)


def _one_more(verdict: Verdict, ctx: Any, account: Account, asked: Any) -> Any:
    cut = (np.abs(verdict.lots) < np.abs(asked)) & (verdict.lots != 0.0)
    return verdict.lots + np.where(cut, np.sign(asked), 0.0)


def _one_by_one(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
    """Each order for itself, as if the others were not asked."""
    verdict = real_gate(ctx, account, asked, limits, switch)
    lots = np.zeros(len(asked))
    for k in np.flatnonzero(np.nan_to_num(asked)).tolist():
        alone = np.zeros(len(asked))
        alone[k] = asked[k]
        lots[k] = real_gate(ctx, account, alone, limits, switch).lots[k]
    verdict.lots = lots
    return verdict


def _sales_counted(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
    """Cash that sales of the same basket will bring is spent at once."""
    sold = np.maximum(-np.nan_to_num(asked, posinf=0.0, neginf=0.0), 0.0)
    proceeds = float(np.minimum(sold, np.maximum(np.nan_to_num(account.lots), 0.0)).dot(ctx.px))
    return real_gate(ctx, replace(account, cash=account.cash + proceeds), asked, limits, switch)


def _all_filled(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
    """Limits of the state in which everything open has filled, instead of the worst on the way."""
    lots, cash = account.lots.copy(), account.cash - account.up_cash
    if account.up is not None:
        lots = lots + account.up
    if account.down is not None:
        lots = lots - account.down
        cash += float(account.down.dot(ctx.px))
    gone = {"up": None, "down": None, "up_cash": 0.0, "open_loss": 0.0}
    return real_gate(ctx, replace(account, lots=lots, cash=cash, **gone), asked, limits, switch)


def _whatever_the_switch(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
    return real_gate(ctx, account, asked, limits, RUN)


# ---- a gate with a fault inside -------------------------------------------------------------------------------


def inside(name: str) -> Fault:
    """A fault of the gate's own methods, which can be planted where it is uncompiled."""

    def planted(patch: pytest.MonkeyPatch) -> Gate:
        gate_faults.plant(name, patch)
        return real_gate

    return Fault(name, planted, inside=True)


FAULTS: Final[Sequence[Fault]] = (
    told("open orders are forgotten", lambda a, c: {"up": None, "down": None, "up_cash": 0.0, "open_loss": None}),
    told("open sales are forgotten", lambda a, c: {"down": None}),
    told("what open purchases cost is forgotten", lambda a, c: {"up_cash": 0.0}),
    told("open orders cost no equity", lambda a, c: {"open_loss": 0.0}),
    told("closed positions may be entered again", lambda a, c: {"blocked": None}),
    told("an order may come twice", lambda a, c: {"repeated": None}),
    told("orders are not counted", lambda a, c: {"open_orders": 0, "recent_orders": 0, "session_orders": 0}),
    told("what the session traded is forgotten", lambda a, c: {"traded": 0.0}),
    told("no equity is taken for some", lambda a, c: {"equity": max(a.equity, 1_000.0)}),
    told("what is not a number is taken for nothing",
         lambda a, c: {"cash": np.nan_to_num(a.cash, posinf=0.0), "traded": np.nan_to_num(a.traded, posinf=0.0)}),
    *(deaf(key) for key in (
        "max_position_weight", "max_gross_exposure", "max_net_exposure", "max_sector_weight", "group_caps",
        "max_volatility",
        "var", "cvar", "correlation", "max_leverage", "max_turnover", "max_order_notional", "max_share_of_volume",
        "liquidity", "max_herfindahl", "restricted", "max_orders_per_day", "average_correlation",
    )),
    deaf("allow_short", allow_short=True),
    deaf("fee_bp", fee_bp=0.0),
    deaf("collar", collar=0.0),
    deaf("reduce_collar", reduce_collar=0.0),
    deaf("cash_reserve", cash_reserve=0.0),
    deaf("max_price_age", max_price_age_ns=10**18),
    deaf("min_history", min_history=2),
    deaf("in_flight", in_flight=1.0),
    deaf("max_cash_debit", max_cash_debit=1.0),
    loose("max_volatility", 1.05),
    loose("max_gross_exposure", 1.01),
    deaf("buying_power"),
    bought("what may be bought is 5 % more than the venue says", 1.05),
    rewritten("a cut order gets a lot more", _one_more),
    rewritten("what was asked passes", lambda v, c, a, asked: np.trunc(np.nan_to_num(asked, posinf=0.0, neginf=0.0))),
    Fault("each order is judged alone", lambda patch: _one_by_one),
    Fault("sales pay for purchases at once", lambda patch: _sales_counted),
    Fault("only the state after all fills is judged", lambda patch: _all_filled),
    Fault("the switch is not looked at", lambda patch: _whatever_the_switch),
    inside("worst prices take nothing from equity"),
    inside("hedges that have not filled count"),
    inside("a limit that an open order may break is given up"),
    inside("reductions are not counted"),
    inside("weights are not seen again at the lower equity"),
)  # fmt: skip


SEEN_AT: Final = {
    "a limit that an open order may break is given up": ("offsetting", 46),
    "allow_short is not read": ("absurd sizes", 1),
    "an order may come twice": ("repeating", 13),
    "average_correlation is not read": ("absurd sizes", 0),
    "buying_power is not read": ("broken market", 0),
    "cash_reserve is not read": ("rebalancing", 3),
    "closed positions may be entered again": ("repeating", 0),
    "correlation is not read": ("absurd sizes", 0),
    "cvar is not read": ("little equity", 0),
    "fee_bp is not read": ("searching", 0),
    "group_caps is not read": ("absurd sizes", 2),
    "hedges that have not filled count": ("not numbers", 2),
    "liquidity is not read": ("repeating", 8),
    "max_gross_exposure is 1.0% wider than it says": ("at the bound", 1),
    "max_gross_exposure is not read": ("at the bound", 1),
    "max_herfindahl is not read": ("absurd sizes", 1),
    "max_leverage is not read": ("offsetting", 0),
    "max_net_exposure is not read": ("alternating", 0),
    "max_order_notional is not read": ("absurd sizes", 0),
    "max_orders_per_day is not read": ("absurd sizes", 1),
    "max_position_weight is not read": ("against open", 0),
    "max_price_age is not read": ("broken market", 0),
    "max_sector_weight is not read": ("absurd sizes", 0),
    "max_share_of_volume is not read": ("repeating", 0),
    "max_turnover is not read": ("alternating", 0),
    "max_volatility is 5.0% wider than it says": ("not numbers", 0),
    "max_volatility is not read": ("not numbers", 0),
    "min_history is not read": ("broken market", 0),
    "no equity is taken for some": ("little equity", 7),
    "open orders cost no equity": ("offsetting", 0),
    "orders are not counted": ("absurd sizes", 0),
    "reduce_collar is not read": ("alternating", 0),
    "reductions are not counted": ("absurd sizes", 0),
    "restricted is not read": ("repeating", 1),
    "the switch is not looked at": ("switched", 0),
    "var is not read": ("broken market", 0),
    "weights are not seen again at the lower equity": ("searching", 0),
    "what is not a number is taken for nothing": ("not numbers", 5),
    "what may be bought is 5 % more than the venue says": ("broken market", 0),
    "what the session traded is forgotten": ("alternating", 0),
    "worst prices take nothing from equity": ("alternating", 0),
}
"""The first match of seed 0 that showed a fault, played first; where it shows nothing, all others follow."""


def hunt(fault: Fault, patch: pytest.MonkeyPatch, matches: int = 60, seed: int = 0) -> str:
    """The first breach that a gate with this fault shows, or "" after that many matches of each kind."""
    gate = fault.plant(patch)
    first_matches = [SEEN_AT[fault.name]] if fault.name in SEEN_AT else []
    for kind, match in (*first_matches, *((kind, match) for match in range(matches) for kind in KINDS)):
        wrong = match_of(kind, seed, match, gate).wrong
        if wrong:
            return wrong[0]
    return ""

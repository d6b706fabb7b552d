"""The features that a long run hits, from the closed unions of the engine, and those that no world can reach."""

from typing import Any, Final, get_args, get_type_hints

from quantd.risk.limits.catalogue import REASON_NAMES, REASON_TEXT
from quantd.trading.effects import Booked, Effect, Protected, Refusal, Rested
from quantd.trading.events import Event, Operator, PortfolioClosed
from quantd.trading.model_events import Exchanged

from ..engine import CapitalRules, Execution

NEVER_HOUSE: Final = frozenset({"not_finite", "duplicate", "protected", "halted", "price_jump", "price_missing"})
"""Reasons that the agents' verdicts leave nothing for."""

NEVER_AGENT: Final = frozenset(
    {"not_finite", "account_notional", "buying_power", "no_borrow", "ramp", "orders_per_day", "volatile"}
)
"""Reasons of limits that only the house has."""

ALERTS: Final = (
    "action", "after_close", "artifact", "before_open", "broker", "capital", "carried", "config", "correlation",
    "decay", "flow", "foreign", "halted", "limit", "loosening", "manual", "milestone", "operator", "order", "policy",
    "policy_note", "portfolio", "price_jump", "promotion", "proposal", "protective", "rebalance", "reconciliation",
    "regime", "rest", "retrain", "switch",
    "feed", "store", "clock", "lag", "ledger", "bars", "upkeep", "calendar", "missed", "job_upkeep", "statement_cash",
)  # fmt: skip

CAUSED: Final = (
    "action, on Action", "artifact, on ModelLoaded", "artifact, on Started", "broker, on Reports", "broker, on Busted",
    "carried, on Carried", "halted, on Halted", "halted, on Limited", "halted, on MarketSlice", "halted, on Reports",
    "loosening, on Approved", "loosening, on Reloaded", "loosening, on Tick", "portfolio, on PortfolioClosed",
    "portfolio, on PortfolioOpened", "portfolio, on Tick", "price_jump, on Action", "price_jump, on JumpExplained",
    "price_jump, on PriceJumped", "price_jump, on Tick", "promotion, on Exchanged", "promotion, on Tick",
    "switch, on Condition", "switch, on Operator", "switch, on Tick", "switch, on Decided",
)  # fmt: skip
"""Alerts by the event that raises them."""

OTHERS: Final = (
    "capital moved: after sales", "carry-over: as before", "carry-over: in another order",
    "fee in the coin, in whole lots", "fills: good till cancelled", "fills: in a bar in progress",
    "fills: on another calendar", "fills: partial", "fills: shared by agents", "fills: stop at the venue", "follow-up",
    "frozen and thawed", "order at a price of its own", "order ended: never sent",
    "policy of a promoted shadow decides", "policy: bars",
    "policy: holds", "policy: leverage too high", "policy: macro series", "policy: memory", "policy: note",
    "policy: raises", "policy: returns NaN", "policy: returns too many weights", "policy: synchronous returns",
    "promotion", "promotion refused", "proposal after its dry run", "proposal of a portfolio",
    "proposal of an outside agent", "shadow: exit: stop_loss", "shadow: fills", "shadow: orders", "trade bust",
    "trade corrected", "weights scaled to headroom",
)  # fmt: skip

IN_THE_FOLD: Final[tuple[str, ...]] = ("bars in the fold", "rounds in the fold", "samples in the fold")

WITHOUT_EFFECTS: Final = frozenset({"Acknowledged", "Reminded"})
"""Events whose handlers return nothing."""

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "agents/brackets": (),  # no world has one, as of stop orders
    "agents/capital": ("capital moved: after sales",),
    "agents/carry_over": ("carry-over: as before", "carry-over: in another order"),
    "agents/portfolios": ("PortfolioClosed: flatten", "PortfolioClosed: hand_over"),
    "agents/promotion": ("promotion", "Exchanged: demote"),
    "agents/proposals": ("proposal of a portfolio", "proposal after its dry run", "effect: OrdersHeld"),
    "agents/retraining": ("alert: retrain", "alert: artifact, on Started"),
    "agents/stop_orders": (),  # no world has one: a base from before them cannot take it
    "agents/shadows": ("shadow: fills", "event: ShadowReport"),
    "core": IN_THE_FOLD,
    "market": ("effect: Crossed", "booked: delisting"),
    "operator_events": ("Operator: halt", "alert: switch, on Condition"),
    "planning/buying_power": ("cut of the house: buying_power",),
    "planning/closing_lots": ("alert: flatten",),
    "planning/execution": ("parent order: twap", "effect: Worked"),
    "planning/gate_account": ("cut of the house: no_borrow", "cut of the house: volatile"),
    "planning/late_orders": ("alert: order_unanswered",),
    "planning/pauses": ("alert: refusal",),
    "planning/plan": ("effect: Planned", "fills: shared by agents"),
    "planning/price_limits": ("alert: halted, on Limited",),
    "planning/rests": ("order at a price of its own",),
    "planning/stop_conflicts": ("fills: stop at the venue",),
    "planning/targets": ("weights scaled to headroom",),
    "rounds": ("follow-up", "policy: raises"),
    "safety/alerts": ("alert: limit", "effect: LimitMoved"),
    "safety/market_regime": ("alert: regime", "cut of the house: volatile"),
    "safety/monitor": ("effect: Assessed",),
    "safety/notices": ("alert: correlation", "alert: decay", "alert: rebalance"),
    "safety/parent_orders": ("parent order: twap",),
    "safety/devices": (),  # no world has a device
    "safety/pending_limits": ("alert: loosening, on Tick", "alert: loosening, on Approved"),
    "safety/proposal_ends": ("effect: ProposalEnded",),
    "safety/resting_orders": ("alert: rest",),
    "safety/session_messages": ("alert: before_open", "alert: after_close"),
    "safety/switch": ("switch of the house: HALT", "switch of the agent: REDUCE"),
    "samples": ("event: Tick", "effect: Valued"),
    "state/activity": ("cut of an agent: order_rate", "cut of the house: turnover"),
    "state/agent_state": ("exit: stop_loss", "frozen and thawed"),
    "state/capital_shares": ("capital moved: equal_risk", "capital moved: regime"),
    "state/causes": ("proposal of an outside agent",),
    "state/engine_state": ("effect: Valued",),
    "state/live_caps": ("cut of the house: ramp", "cut of the house: account_notional"),
    "state/market_data": ("frozen and thawed",),
    "state/monitor_state": ("alert: milestone",),
    "state/new_columns": ("rounds in the fold", "follow-up"),
    "state/open_orders": ("order ended: cancelled", "fills: good till cancelled"),
    "state/parents": ("parent order: vwap", "parent order: participation"),
    "state/price_holds": ("alert: price_jump, on PriceJumped",),
    "state/promotion_rule": ("promotion refused",),
    "state/proposal_log": ("proposal of an outside agent",),
    "state/protective_stops": ("stop at the venue: stop_loss",),
    "state/restrictions": ("alert: halted, on Halted", "alert: price_jump, on PriceJumped"),
    "state/settings": ("agents: 3",),
    "state/snapshot": ("frozen and thawed",),
    "state/stop_records": ("stop at the venue: stop_loss",),
    "state/venue_account": ("booked: flow", "alert: foreign"),
    "state/verdict_log": (),  # records that only views read, and no effect
    "state/waits": ("alert: order_unanswered",),
    "stops/exits": ("exit: stop_loss", "exit: take_profit", "exit: trailing_stop"),
    "stops/sync": ("stop at the venue: trailing_stop",),
    "stops/venue_stops": ("fills: stop at the venue",),
    "venue/account": ("alert: reconciliation", "booked: flow", "alert: foreign"),
    "state/bar_columns": ("alert: price_jump, on JumpExplained",),
    "venue/availability": ("alert: flatten",),
    "venue/busts": ("trade bust", "trade corrected"),
    "venue/coin_fees": ("fee in the coin, in whole lots",),
    "venue/halts": ("alert: halted, on Halted", "alert: halted, on Reports", "alert: halted, on Limited"),
    "venue/order_comparison": ("alert: reconciliation, on Reconciled",),
    "venue/price_jumps": ("alert: price_jump, on JumpExplained", "cut of an agent: price_jump"),
    "venue/refusals": ("alert: refusal",),
    "venue/reports": ("fills: partial", "alert: broker, on Reports"),
    "venue/settlements": ("effects of: OrderSettled",),
    "venue/splits": ("booked: cash_in_lieu",),
    "venue/unanswered": ("alert: order_unanswered",),
    "venue/unknown": ("effect: Again", "effect: Query", "order ended: never sent"),
}  # fmt: skip
"""Module or folder of the engine -> features that show it."""

UNREACHED: Final[dict[str, str]] = {}
"""Features that no world can reach, and why."""


def expected() -> set[str]:
    """Names of the features that a long run should hit."""
    events = {kind.__name__ for kind in get_args(Event)}
    reasons = {REASON_NAMES[code] for code in REASON_TEXT if code}
    cuts = {"the house": reasons - NEVER_HOUSE, "an agent": reasons - NEVER_AGENT}
    styles = set(choices(Execution, "style"))
    features = {
        *(f"event: {name}" for name in events),
        *(f"effects of: {name}" for name in events - WITHOUT_EFFECTS),
        *(f"effect: {kind.__name__}" for kind in get_args(Effect)),
        *(f"cut of {who}: {reason}" for who, names in cuts.items() for reason in names),
        *(f"command refused: {code}" for code in get_args(Refusal)),
        *(f"orders: {kind}" for kind in ("limit", "stop", "open", "close", "day", "good till cancelled")),
        *(f"order ended: {state}" for state in ("cancelled", "rejected", "expired")),
        *(f"exit: {kind}" for kind in choices(Protected, "kind")),
        *(f"stop at the venue: {kind}" for kind in choices(Rested, "kind")),
        *(f"booked: {kind}" for kind in choices(Booked, "kind")),
        *(f"parent order: {style}" for style in styles - {"marketable", "open", "close"}),
        *(f"capital moved: {method}" for method in choices(CapitalRules, "method")),
        *(f"switch of the {who}: {state}" for who in ("house", "agent") for state in ("RUN", "REDUCE", "HALT")),
        *(f"Operator: {command}" for command in choices(Operator, "command")),
        *(f"Exchanged: {command}" for command in choices(Exchanged, "command")),
        *(f"PortfolioClosed: {how}" for how in choices(PortfolioClosed, "how")),
        *(f"alert: {kind}" for kind in (*ALERTS, *CAUSED)),
        *OTHERS,
        *(name for names in MODULES.values() for name in names),
    }
    return features - UNREACHED.keys()


def choices(kind: type[Any], name: str) -> tuple[str, ...]:
    """The values of a field that is a Literal."""
    return get_args(get_type_hints(kind)[name])

"""Detects additions to the engine that the fold (compiled fast path) does not know.

The fold then leaves every event to `step` (in Python). The fold repeats the handlers of five events, and one stage. A
stage is work after an event. Another stage is skipped only where its condition (`idle.idle_when`) says that it has
nothing to do; a stage without a condition is never skipped. A handler or a stage that another function has replaced,
and an attribute of the state or of its parts that is not listed here, may change what a bar or a tick does. A limit
needs no entry: the gate of the fold walks the same tables as the gate of `step`, and `gate_sets` finds the limits that
the fold cannot apply.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from types import GetSetDescriptorType
from typing import Any, Final

from quantd.daemon import engine
from quantd.daemon.engine.core.fold import Core
from quantd.daemon.engine.core.idle import condition_of
from quantd.daemon.engine.core.order_columns import FollowUp, Orders, Request
from quantd.daemon.engine.state import AgentState, State
from quantd.daemon.engine.state.activity import Activity, BookActivity
from quantd.daemon.engine.state.monitor_state import Noted, Watch
from quantd.daemon.engine.state.open_orders import Cross, OpenCrosses, Working
from quantd.daemon.engine.state.protective_stops import Protection
from quantd.daemon.engine.state.restrictions import Restrictions
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.engine.state.venue_account import VenueAccount
from quantd.risk.monitor.equity_series import EquitySeries
from quantd.risk.monitor.levels import Monitor
from quantd.risk.monitor.realised import Realised
from quantd.risk.protective import Guards
from quantd.risk.switch_state import Switch
from quantd.trading.events import Action, Decided, Tick
from quantd.trading.history import History, Ring
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import Ledger
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket, Reports

HANDLERS: Final = {
    MarketSlice: "market.on_market_slice",
    Tick: "samples.on_tick",
    Decided: "rounds.on_decided",
    Reports: "venue.reports.on_reports",
    Action: "market.on_action",
}
"""The events that the fold takes in place of `step`, with the names of their handlers below the engine's package."""

STAGE: Final = "samples.serve_tick"
"""The stage whose work the fold does; it follows ticks."""


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARTS: Final[dict[type, frozenset[str]]] = {
    State: _words_of(
        # written by `FoldHost.sync`
        "activity agents books_micro borrowed_key crosses earned ended equity_micro history ledger mark_ts marks "
        "marks_nano monitor rules switch volume volumes watch working "
        # computed from other attributes
        "_average _lots _priced _units allowed at_limits best buying_rooms counting guards levels protecting resting "
        "rooms universe "
        # without effect where `FoldHost.plain` lets the fold begin
        "carried down flattening judged later loosening noted owed parents portfolios protection restrictions reviews "
        "round shadows venue "
        # used only by events, jobs and orders that the fold does not take
        "acts artifacts awaiting balances_micro brackets flattens_jumped live_sessions loaded outside pairings seats"
    )
    | getattr(Core, "__annotations__", {}).keys(),  # uncompiled they are attributes too
    Ledger: _words_of(
        "_lot_nano _numbers _same amounts books denominator house lost_atto names numerator room rows valued_atto "
        "valued_micro"
    ),
    History: _words_of("bars joined known known_actions macro own_dates pending size sync_actions synchronous waiting"),
    Ring: _words_of(
        "_actions _columns _filled _loops _prices _returns _shared _sums _turned count end filled_returns lookback "
        "prices size"
    ),
    Book: _words_of(
        "cash_micro cost fees_micro flows_micro held income_micro realised_micro residue_micro residue_rest size"
    ),
    Protection: _words_of("leaving own postponed rests retries stops"),
    Restrictions: _words_of("halted jumped limited"),
    VenueAccount: _words_of(
        "buying_power_micro coin_fees dust entitled fenced flows foreign foreign_ids spending unlent waits"
    ),
    Activity: _words_of("books session_end"),
    AgentRules: _words_of("capital_micro limits min_trade name place scheduled"),
    AgentState: _words_of("blocked exits failures follow_up lacks memory note suspended switch"),
    BookActivity: _words_of("orders request sent traded"),
    Cross: _words_of("buy_worst_nano end sample sell_worst_nano shares symbol ts"),
    Decided: _words_of("agent failed memory note round warns weights"),
    EquitySeries: _words_of("count deviation earned end equity flows growth mean rated"),
    FollowUp: _words_of("sample used weights"),
    Guards: _words_of("cooldown rests stop target trailing trails"),
    Monitor: _words_of("levels"),
    Noted: _words_of("correlation decayed milestones refused volatile"),
    OpenCrosses: _words_of("buy_worst count end further lots micro parties sample sell_worst ts"),
    Orders: _words_of(
        "again at_venue block cells charged end fee filled live lone lots n odd pairs parts plain price reason "
        "record remaining row rows sample shares_record starts state symbol ts worst_nano"
    ),
    OrderBasket: _words_of("cause end kind lots n reason sample stop_nano sym ts values worst_nano"),
    Realised: _words_of(""),
    Request: _words_of("at given lots"),
    Rules: _words_of(
        "agents approvals borrow_bp_annual calendar capital cash_micro cash_tolerance_micro challenges coin_fee_bp "
        "counts_refusals daily differences execution first_seat flatten_on follow_ups good_till_cancelled house "
        "house_calendar keep_bars live lookback macro max_failures notices outside promotion rearm_samples regime "
        "reviewed seats sessions shadows universe venue_pays volume_lookback"
    ),
    Switch: _words_of("day_key day_open high_water last reason since_sample state trips week_key week_open"),
    Tick: _words_of("cash_rate coming due final jobs key macro opened sample ts warmup"),
    Watch: _words_of("bands context ended holdings levels realised recorded_no"),
    Working: _words_of("priced"),
}
"""The attributes that the fold knows: of the state, of its parts, of the events it takes and the records it makes."""

BY_INSTANCE: Final = (State, Ledger, Book, History, Ring, Request, FollowUp)
"""Parts whose attributes are read from an instance, because their class does not list them."""


def addition(state: State) -> str:
    """Name an addition to the engine that the fold (the compiled fast path) does not know; empty if there is none."""
    return (
        _unknown_function(engine.STAGES, tuple(engine.HANDLERS.items()))
        or _unknown_field()
        or _unknown_attribute(state)
    )


def idle(state: State) -> bool:
    """Whether all stages (work after an event) after the fold's events have nothing to do in this state.

    Only then may the fold (the compiled fast path) take an event in place of `step` (in Python). The stage `STAGE` does
    not count: the fold does its work.
    """
    return all(condition(state) for condition in _conditions(engine.STAGES))


@lru_cache(maxsize=8)
def _conditions(stages: tuple[engine.Stage, ...]) -> list[Callable[[State], bool]]:
    """The conditions under which the stages after the events in `HANDLERS` have nothing to do."""
    conditions = [condition_of(stage.run) for stage in stages if HANDLERS.keys() & set(stage.after)]
    return [condition for condition in conditions if condition is not None]


@lru_cache(maxsize=8)
def _unknown_function(stages: tuple[engine.Stage, ...], handlers: tuple[tuple[type, Any], ...]) -> str:
    """Name a stage or a handler that is not quantd's, or a missing `STAGE`; empty where all are quantd's."""
    for stage in stages:
        events = HANDLERS.keys() & set(stage.after)
        # the one stage whose work the fold does, as long as it follows ticks only
        serves = _name_of(stage.run) == STAGE and events == {Tick}
        # a wrapper may carry the condition of its stage, but `_name_of` gives it no name
        if events and not serves and (condition_of(stage.run) is None or not _name_of(stage.run)):
            return f"stage {_described(stage.run)}"
    if not any(_name_of(stage.run) == STAGE for stage in stages):
        return f"no stage {STAGE}"
    for event, handler in handlers:
        if event in HANDLERS and _name_of(handler) != HANDLERS[event]:
            return f"handler {_described(handler)}"
    return ""


def _name_of(function: Any) -> str:
    """The dotted name of a function, relative to the engine's package.

    Empty where its module has another function under this name, as with a wrapper.
    """
    code, module_globals = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or module_globals.get(code.co_name) is not function:
        return ""
    return f"{module_globals['__name__']}.{code.co_name}".removeprefix(f"{engine.__name__}.")


def _described(function: Any) -> str:
    return f"{getattr(function, '__name__', function)} of {getattr(function, '__module__', '')}"


@cache
def _unknown_field() -> str:
    """Name the first attribute of a part of the state that the compiled fold does not know; empty without one."""
    for part, names in PARTS.items():
        fields = () if part in BY_INSTANCE else fields_of(part)
        if added := [name for name in fields if name not in names]:
            return f"attribute {added[0]} of {part.__name__}"
    return ""


def fields_of(part: type) -> Sequence[str]:
    """The names of the fields of a class, without the fields of its bases; `__dict__` where it accepts any name."""
    for attribute in ("__struct_fields__", "_fields", "__slots__"):
        if hasattr(part, attribute):
            fields: Sequence[str] = getattr(part, attribute)
            return fields
    # a compiled class has descriptors in place of annotations
    kinds = {name: type(value) for name, value in vars(part).items() if not name.startswith("__")}
    described = [name for name, kind in kinds.items() if kind is GetSetDescriptorType]
    return [*getattr(part, "__annotations__", ()), *described] or ["__dict__"]


def _unknown_attribute(state: State) -> str:
    """Name an attribute of the state or one of its parts that the compiled fold does not know; empty if there is
    none."""
    decisions = state.activity.books[-1].request, *(agent.follow_up for agent in state.agents[:1])
    columns = state.crosses, *decisions
    for part in (state, state.ledger, state.ledger.house, state.history, state.history.known, *columns):
        names, present = PARTS.get(type(part), frozenset()), getattr(part, "__dict__", {}).keys()
        if not present <= names:
            return f"attribute {min(present - names)} of {type(part).__name__}"
    return ""

"""What batches account for by name: stages, handlers, the parts of the state, limits. With anything else, `step` runs.

A batch repeats what `step` does at plain rows, and would leave out an addition that it does not know. An addition is
declared here once a batch repeats it, or has a reason to leave it out.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Final

from quantd.daemon import engine
from quantd.daemon.engine.batches.tables import unknown_to_levels, unknown_to_plans
from quantd.daemon.engine.planning.activity import Activity, BookActivity
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.planning.parents import Execution
from quantd.daemon.engine.safety.monitor_state import Noted, Watch
from quantd.daemon.engine.settings import AgentRules, Rules
from quantd.daemon.engine.state import HOUSE, AgentState, FollowUp, State
from quantd.daemon.engine.valuation import Valuations
from quantd.daemon.engine.venue.open_orders import Cross, Working
from quantd.risk.limits.catalogue import EXTRA, FIELDS, Correlation, Limits, Liquidity, Protective, Stress, Tail
from quantd.risk.limits.catalogue import LIMITS as RECORDS
from quantd.risk.limits.settings import value_of
from quantd.risk.monitor.levels import Monitor
from quantd.risk.monitor.realised import Realised
from quantd.risk.protective import Guards
from quantd.risk.switch import Switch
from quantd.trading.events import Decided, Tick
from quantd.trading.history import History, Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import Ledger
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket, Reports

STAGES: Final = (
    ("planning.execution.execute_parents", "MarketSlice Tick Decided Reports"),  # `steady`: no parent orders
    ("samples.serve_tick", "Tick"),
    ("safety.notices.note_rebalances", "Tick Decided"),  # `steady`: no notices
    ("safety.session_messages.count_refusals", "MarketSlice Tick Decided Reports"),  # `_plans`: not counted
    ("stops.sync.sync_stops", "MarketSlice Tick Decided Reports"),  # `steady`: no stops at the venue
)
"""The stages in order, each with the events of a batch that it follows."""

TAKEN: Final = {MarketSlice, Tick, Decided, Reports}
"""Events that a batch takes in place of `step`."""

HANDLERS: Final = {
    "agents.carry_over": "on_carried",
    "agents.portfolios": "on_portfolio_closed on_portfolio_opened",
    "agents.promotion": "on_exchanged",
    "agents.proposals": "on_proposal_reviewed on_proposed",
    "agents.retraining": "on_model_loaded on_retrained on_started",
    "agents.shadows": "on_shade",
    "market": "on_action on_market_slice",
    "operator_events": (
        "on_acknowledged on_approved on_cancel_requested on_condition on_operator on_reloaded on_reminded "
        "on_stopping on_wished"
    ),
    "rounds": "on_decided",
    "samples": "on_schedule_run on_tick",
    "venue.account": "on_correction on_flow on_foreign_found on_reconciled",
    "venue.busts": "on_busted",
    "venue.halts": "on_halted on_limited",
    "venue.price_jumps": "on_jump_explained on_price_jumped",
    "venue.reports": "on_reports",
    "venue.settlements": "on_order_settled",
    "venue.unknown": "on_cancel_reported on_not_found on_unknown",
}
"""By module: the handlers."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARTS: Final[dict[type, frozenset[str]]] = {
    State: _names(
        # read at the start of a batch, and moved by it
        "activity agents books_micro borrowed_key crosses earned ended equity_micro history ledger mark_ts marks "
        "marks_nano monitor now orders_at round_no sample sample_key sample_no switch volume volume_count volumes "
        "watch working "
        # computed from other attributes
        "_average _lots _priced _units allowed arrays best counting guards levels protecting resting rooms rules "
        "universe "
        # without effect where `steady` and `_plans` let a batch begin
        "buying_power_micro down flattening foreign halted judged jumped later limited loosening noted owed own "
        "parents portfolios reviews round shadows stops unlent valuations waits "
        # of events, jobs and orders that no batch takes
        "artifacts balances_micro carried dust coin_fees "
        "entitled fenced flattens_jumped flows foreign_ids leaving live_sessions "
        "loaded outside pairings postponed proposals rests retries seats spending"
    ),
    Ledger: _names(
        "_lot_nano _same amounts books denominator house kept kept_room lost_atto names numerator room rows"
    ),
    History: _names("bars known known_actions macro own_dates pending size sync_actions synchronous waiting"),
    Ring: _names(
        "_actions _columns _filled _loops _prices _returns _shared _sums _turned count end filled_returns lookback "
        "prices size"
    ),
    Book: _names(
        "cash_micro cost fees_micro flows_micro held income_micro realised_micro residue_micro residue_rest size"
    ),
    Activity: _names("books session_end"),
    AgentRules: _names("capital_micro limits min_trade name place scheduled"),
    AgentState: _names("blocked exits failures follow_up memory note suspended switch"),
    BookActivity: _names("asked asked_at orders sent traded"),
    Correlation: _names("joint_weight lookback min_weight strict threshold"),
    Cross: _names("buy_worst_nano end sample sell_worst_nano shares symbol ts"),
    Decided: _names("agent failed memory note round warns weights"),
    Execution: _names("every_ns most over_ns participation profile slices step_bp style"),
    FollowUp: _names("sample used weights"),
    Guards: _names("cooldown rests stop target trailing trails"),
    Instrument: _names("asset calendar currency lot_nano sector symbol tick_nano"),
    Liquidity: _names("days participation"),
    Monitor: _names("levels"),
    Noted: _names("correlation decayed milestones refused volatile"),
    OrderBasket: _names("end kind lots n reason sample stop_nano sym ts values worst_nano"),
    Protective: _names("at_venue cooldown stop_loss take_profit trailing"),
    Realised: _names("_earned _equity _flows _grown"),
    Rules: _names(
        "agents borrow_bp_annual calendar capital cash_micro cash_tolerance_micro challenges coin_fee_bp "
        "counts_refusals daily "
        "differences execution first_seat flatten_on follow_ups good_till_cancelled house house_calendar keep_bars "
        "live lookback macro max_failures notices outside promotion rearm_samples regime reviewed seats sessions "
        "shadows universe venue_pays volume_lookback"
    ),
    Stress: _names("limit shocks"),
    Switch: _names("day_key day_open high_water last reason since_sample state trips week_key week_open"),
    Tail: _names("confidence horizon limit lookback method"),
    Tick: _names("cash_rate coming due final jobs key macro opened sample ts warmup"),
    Universe: _names("benchmark calendar currency groups instruments"),
    Valuations: _names("closed unclosed"),
    Watch: _names("bands context ended holdings levels realised recorded_no"),
    Working: _names("again basket filled live lots odd shares state whole worst_nano"),
}
"""The attributes of the state, of its parts, and of events of a batch."""

BY_INSTANCE: Final = (State, Ledger, Book, History, Ring)
"""Parts whose attributes are those of the instance."""

LIMITS: Final = _names(
    "allow_short average_correlation buying_power cash cash_reserve collar correlation cvar duplicate_window_ns equity "
    "fee_bp finite flatten_collar group_caps halted in_flight liquidity max_account_notional max_cash_debit "
    "max_concentration max_daily_loss max_drawdown max_gross_exposure max_herfindahl max_leverage max_net_exposure "
    "max_open_orders max_order_notional max_orders_per_day max_position_weight max_price_age_ns "
    "max_realised_volatility max_sector_weight max_share_of_volume max_turnover max_volatility max_weekly_loss "
    "min_diversification min_history min_sharpe no_borrow order_rate price price_jump protective ramp reduce_collar "
    "refusals restricted stress switch var volatile_exposure volatility_lookback zero"
)
"""Limits that a batch applies, or leaves to `step` with the plan or the row (`tables`)."""


def undeclared(state: State) -> str:
    """An addition that a batch would leave out; empty for none. `undeclared_limit` has those of limits."""
    functions = _undeclared_function(engine.STAGES, tuple(engine.HANDLERS.values()))
    return functions or _undeclared_field() or _undeclared_attribute(state)


@lru_cache(maxsize=8)
def _undeclared_function(stages: tuple[Any, ...], handlers: tuple[Any, ...]) -> str:
    for (run, after), (name, events) in zip(stages, STAGES, strict=False):
        if _name_of(run) != name or not {each.__name__ for each in TAKEN.intersection(after)} <= {*events.split()}:
            return f"stage {_words(run)}"
    if len(stages) != len(STAGES):
        return f"stage {_words(stages[-1].run)}"
    for handler in handlers:
        module, _, name = _name_of(handler).rpartition(".")
        if name not in HANDLERS.get(module, "").split():
            return f"handler {_words(handler)}"
    return ""


def _name_of(function: Any) -> str:
    """The name of a function below this package; empty where that name is of another function, as of a wrapper."""
    code, space = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or space.get(code.co_name) is not function:
        return ""
    return f"{space['__name__']}.{code.co_name}".removeprefix(f"{engine.__name__}.")


def _words(function: Any) -> str:
    return f"{getattr(function, '__name__', function)} of {getattr(function, '__module__', '')}"


@cache
def _undeclared_field() -> str:
    """A field of a part whose fields are those of its class."""
    kinds = ("__struct_fields__", "_fields", "__slots__")
    for part, names in PARTS.items():
        found = (getattr(part, kind) for kind in kinds if hasattr(part, kind))
        fields: Iterable[str] = () if part in BY_INSTANCE else next(found, ("__dict__",))
        if added := [name for name in fields if name not in names]:
            return f"attribute {added[0]} of {part.__name__}"
    return ""


def _undeclared_attribute(state: State) -> str:
    """An attribute of a part that has them by instance."""
    for part in (state, state.ledger, state.ledger.house, state.history, state.history.known):
        names, found = PARTS.get(type(part), frozenset()), getattr(part, "__dict__", {}).keys()
        if not found <= names:
            return f"attribute {min(found - names)} of {type(part).__name__}"
    return ""


def undeclared_limit(limits: Limits) -> str:
    """A limit in force that is not in LIMITS; empty for none."""
    for key in sorted(RECORDS.keys() - LIMITS):
        off = (key in FIELDS or key in EXTRA) and value_of(limits, key) in (None, ())
        if not off:
            return f"limit {key}"
    return ""


def why_stepped(state: State) -> str:
    """What keeps bars or plans out of batches, as a line for the user; empty where nothing does by its name."""
    sets = [limits_in_force(state, book) for book in (HOUSE, *range(len(state.agents)))]
    name = undeclared(state) or next(filter(None, map(undeclared_limit, sets)), "")
    if not name and (key := unknown_to_levels(state)):
        name = f"limit {key}"
    if name:
        return f"bars are taken one at a time, which is slower: batches do not know the {name}"
    for own in sets:
        key = unknown_to_plans(own, state.universe)
        if not (key or state.rules.daily):
            key = next((each for each in ("liquidity", "max_share_of_volume") if value_of(own, each) is not None), "")
        if key:
            return f"plans are made one at a time, which is slower: batches do not know the limit {key}"
    return ""

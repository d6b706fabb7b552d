"""Ticks, and schedules by hand: values samples, queries overdue orders, and asks the agents that are due.

The order of a tick, and what it guarantees:

1. Looser limits whose delay is over apply to all that follows.
2. Exits of closed positions end before the sample counts, so that a cooldown begins with the next sample.
3. Samples whose dates are complete are valued before the history takes the closes of the new sample.
4. The sample is valued and the kill switches move before anything is ordered: an order is for the books of now.
5. Agents that owe capital pay, and portfolios that are being closed go on closing. Proposals that wait for a person
   lapse, because their prices and books are of the previous sample.
6. Overdue orders are queried, and cancels are repeated: a report or a cancel may be lost, and a repeat does no harm.
7. Exits are ordered before the follow-ups (waiting rests) of decisions, because an exit overrides its policy.
8. In `serve_tick` the jobs precede the questions: they need books that were just valued, and a promotion changes who is
   asked.

While everything is being sold nobody is asked: the targets of a policy would cancel the sales.
"""

from collections.abc import Sequence

from quantd.daemon.engine.agents.capital import SELL, reallocate, sell_for_debts, settle
from quantd.daemon.engine.agents.portfolios import finish_closing
from quantd.daemon.engine.agents.promotion import promote
from quantd.daemon.engine.agents.proposals import lapse
from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.rounds import ask_agents, follow_ups
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.market_regime import watch_regime
from quantd.daemon.engine.safety.monitor import watch
from quantd.daemon.engine.safety.notices import notices
from quantd.daemon.engine.safety.pending_limits import apply_looser
from quantd.daemon.engine.safety.proposal_ends import report_orders
from quantd.daemon.engine.safety.session_messages import session_messages
from quantd.daemon.engine.safety.switch import cancel_open_orders, flatten, flatten_all, watch_switch
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.exits import forget_best, order_exits, release_blocked, settle_exits
from quantd.daemon.engine.venue.price_jumps import closes_before, jump_alerts
from quantd.daemon.engine.venue.refusals import settle_retries
from quantd.daemon.engine.venue.unanswered import check_clocks, flatten_is_late, only_late
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.trading.cash_rate import earned
from quantd.trading.effects import Booked, Cancel, Effect, Query, Snapshot, Valued
from quantd.trading.events import Tick
from quantd.trading.instruments import MICRO
from quantd.trading.number_types import read_floats
from quantd.trading.orders import AT_SAMPLES, ENDED, OrderState, ScheduleRun
from quantd.trading.sessions import DAY_NS


def begin_tick(state: State, tick: Tick) -> list[Effect]:
    """Apply looser limits that are due, end the exits of closed positions, and note the jobs that wait for a sample."""
    effects: list[Effect] = []
    if state.loosening is not None and tick.ts >= state.loosening.due and not tick.warmup:
        effects.extend(apply_looser(state, state.loosening, "the delay is over"))
    if state.protecting:
        forget_best(state)
        settle_exits(state)  # before the sample counts: a cooldown begins with the next one
    if tick.jobs:
        state.later |= AT_SAMPLES.intersection(tick.jobs)
    return effects


def append(state: State, tick: Tick) -> None:
    """Append the marks to the history as a sample, and the values of the macro series."""
    closes = closes_before(state, state.marks, tick.ts) if state.restrictions.jumped else state.marks
    state.history.sample(tick.ts, tick.key, tick.final, closes)
    if state.history.macro is not None:
        state.history.macro.sample(tick.macro)


def rest_of_tick(state: State, tick: Tick) -> list[Effect]:
    """Value a sample that the history has; at any tick then handle overdue orders, exits and follow-ups."""
    effects: list[Effect] = []
    if tick.sample and tick.warmup:
        return effects
    if tick.sample:
        effects.extend(take_sample(state, tick))
        effects.extend(settle(state))
        effects.extend(finish_closing(state))
    elif state.flattening or any(number < len(state.agents) for number in tick.due):  # not for a shadow alone
        state.revalue()
    if state.reviews:
        effects.extend(lapse(state, tick.sample))
    for sender in state.unreported():
        effects.extend(report_orders(state, sender))
    if state.protection.retries and not tick.warmup:
        effects.extend(settle_retries(state))
    if state.working:
        effects.extend(overdue(state))
        if state.switch.state != RUN:
            effects.extend(cancel_open_orders(state, adding_only=state.switch.state == REDUCE or state.flattening))
    if state.venue.waits.compared:
        effects.extend(check_clocks(state))
        effects.extend(flatten_is_late(state))
    if state.flattening and only_late(state):  # no order is open but late ones
        effects.extend(flatten_all(state))
    if state.protecting:
        effects.extend(order_exits(state))
    if tick.sample:
        effects.extend(follow_ups(state, frozenset(agents_due(state, tick.due, sample=True))))
    return effects


def agents_due(state: State, due: Sequence[int], *, sample: bool) -> list[int]:
    """Indices of the agents that decide: the agents in `due`, and at a `sample` also every agent without a schedule.

    Suspended agents, and agents that decide by proposals from outside the daemon, are never among them.
    """
    rules = state.rules.agents
    return [
        number
        for number, agent in enumerate(state.agents)
        if not agent.suspended
        and state.seats[number] not in state.rules.outside
        and (number in due or (sample and not rules[number].scheduled))
    ]


@idle_when(lambda state: True)  # the fold does its work
def serve_tick(state: State, tick: Tick, effects_so_far: Sequence[Effect]) -> Sequence[Effect]:
    """Return `effects_so_far` of a tick with the effects of its jobs, and the Asks (questions to policies) of the
    agents that are due."""
    if tick.sample and tick.warmup:
        return effects_so_far
    effects = list(effects_so_far)
    due = agents_due(state, tick.due, sample=tick.sample)
    if tick.sample and state.later:  # these jobs need books just valued, and precede the Asks
        jobs, state.later = state.later, set()
        if "promote" in jobs:
            effects.extend(promote(state))
            due = agents_due(state, tick.due, sample=True)  # a policy that was promoted may be one that is never asked
        if SELL in jobs:
            effects.extend(sell_for_debts(state, frozenset(due)))
        if "reallocate" in jobs:
            effects.extend(reallocate(state, frozenset(due)))
    if tick.sample and tick.cash_rate is not None:
        note_balances(state)
    # the reason has the form WHO: REASON, as of an operator's command
    effects.extend(_ask_and_run_jobs(state, due, tick.jobs, tick.ts, "schedule: schedule", tick.coming))
    return effects


def note_balances(state: State) -> None:
    """Note the cash of each book at a sample, on which the next one books interest."""
    state.balances_micro = [book.cash_micro for book in state.ledger.books]


def on_schedule_run(state: State, run: ScheduleRun) -> Sequence[Effect]:
    """Run a schedule on an operator's command: its job, and its agents, at the last sample and the newest marks."""
    because, jobs = f"{run.who}: {run.reason}", (run.job,) if run.job else ()  # in a shadow the run has no job
    effects: list[Effect] = []
    if jobs:
        effects.append(alert(state, "INFO", "operator", f"schedule {run.schedule} runs by hand ({because})"))
    state.later |= AT_SAMPLES.intersection(jobs)
    if run.due:
        state.revalue()
    return [*effects, *_ask_and_run_jobs(state, agents_due(state, run.due, sample=False), jobs, state.now, because)]


def _ask_and_run_jobs(
    state: State, due: list[int], jobs: Sequence[str], ts: int, because: str, coming: Sequence[str] = ()
) -> list[Effect]:
    """The Asks (questions to policies) of the agents that are due, and the jobs that follow them."""
    effects: list[Effect] = []
    # while everything is being sold, a policy's targets would cancel the sales
    if due and state.switch.state != HALT and not state.flattening and state.sample:
        effects.extend(ask_agents(state, due, ts))
    effects.extend(session_messages(state, jobs, coming))
    if "snapshot" in jobs:
        effects.append(Snapshot(ts))
    if "flatten" in jobs:
        effects.extend(flatten(state, because))
    return effects


def overdue(state: State) -> list[Effect]:
    """Query orders that are expired, UNKNOWN or good till cancelled, as their last report may be lost.

    Cancel again what is being cancelled: the first cancel may be lost, and a second one does no harm.
    """
    effects: list[Effect] = []
    for (sample, n), work in state.working.items():
        rows = []
        for row, order_state in enumerate(work.state):
            if order_state in ENDED:
                continue
            # an order that is good till cancelled has the end 0
            if order_state == OrderState.UNKNOWN or work.basket.end[row] < state.now:
                rows.append(row)
            if order_state == OrderState.CANCELLING:
                effects.append(Cancel(sample, n, row, state.now))
        if rows:
            effects.append(Query(sample, n, rows))
    return effects


def accrue(state: State, tick: Tick) -> list[Effect]:
    """Book borrow fees and interest for the calendar days since the previous sample; returns the effects.

    Borrow fees are on the present short positions. Interest is on the cash that each book had after the previous
    sample, at the rate that this tick names.
    """
    effects: list[Effect] = []
    if state.accrued == tick.ts:
        return effects  # the fold has booked them
    state.accrued = tick.ts
    # `borrowed_key` is the day of the previous sample, 0 before the first one
    days = int(tick.key - state.borrowed_key) // DAY_NS if state.borrowed_key else 0
    rate = state.rules.borrow_bp_annual
    if rate and days > 0 and any(lots < 0 for lots in state.ledger.house.lots):
        change, parts = state.ledger.borrow(state.marks_nano.tolist(), rate, days)
        state.booked()
        effects.append(Booked(tick.ts, "borrow", -1, change, parts=parts))  # -1: of no symbol
    if tick.cash_rate and days > 0 and state.balances_micro:
        change, parts = state.ledger.interest(state.balances_micro, tick.cash_rate, days)
        state.booked()
        effects.append(Booked(tick.ts, "interest", -1, change, parts=parts))  # -1: of no symbol
    state.earned = None if tick.cash_rate is None else earned(tick.cash_rate, max(days, 0))
    state.borrowed_key = tick.key - tick.key % DAY_NS
    return effects


def take_sample(state: State, tick: Tick) -> list[Effect]:
    """Book the accrued fees and interest, value the books, and check the limits that move kill switches."""
    effects = accrue(state, tick)
    state.sample, state.sample_key = tick.ts, tick.key
    state.sample_no += 1
    if state.rules.live is not None and state.session_ends(tick.ts):
        state.live_sessions += 1
    if state.protecting:
        release_blocked(state)
    state.forget_orders()
    state.revalue()
    equity = state.equity_micro
    for book in (HOUSE, *state.in_use()):
        effects.extend(watch_switch(state, book, tick))
    effects.extend(watch_regime(state))
    effects.extend(watch(state))
    effects.extend(notices(state))
    if state.restrictions.jumped and state.session_ends(tick.ts):
        effects.extend(jump_alerts(state))
    if equity > 0:
        values = read_floats(state.lot_values())
        for number, agent in enumerate(state.agents):
            agent.lacks.sample(read_floats(state.lots(number)), values, equity / MICRO)
    high_water = max(state.switch.high_water, 1)
    effects.append(
        Valued(
            ts=tick.ts,
            equity_micro=equity,
            cash_micro=state.ledger.house.cash_micro,
            books=state.books_micro,
            gross=state.exposure() * MICRO / equity if equity > 0 else 0.0,
            drawdown=max(0.0, 1.0 - equity / high_water),
        )
    )
    return effects

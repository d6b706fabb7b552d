"""The messages before an open and after a close: from the state and its tick, the same in a replay."""

import msgspec
import numpy as np

from quantd.daemon.engine import step
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Publish
from quantd.trading.events import Condition, Tick
from tests.support.engine import CASH, World, block, taken, walk

HOUR_NS = 3_600 * 10**9
COMING = ("daily 2024-10-08 16:00", "weekly 2024-10-11 16:00")


def world(symbols: int = 2, weight: float = 0.4, **rules: object) -> World:
    """Thirty days of an agent that wants the same weight of each symbol."""
    return World(block(walk(30, symbols, 11)), [lambda view: [weight] * symbols], **rules).run()


def said(state: State, job: str, coming: tuple[str, ...] = COMING) -> list[Publish]:
    """The messages of a tick an hour after the last event."""
    effects = taken(state, Tick(state.now + HOUR_NS, jobs=(job,), coming=coming))
    return [effect for effect in effects if isinstance(effect, Publish)]


def test_a_ready_daemon_reports_its_feed_its_switch_and_the_next_runs_before_the_open() -> None:
    (message,) = said(world().shell.state, "before_open")
    assert (message.kind, message.level) == ("before_open", "INFO")
    assert message.text == (
        "ready; newest bar 1.0 h old, switch RUN, 1 agent, 1 basket at the venue;"
        " next daily 2024-10-08 16:00, weekly 2024-10-11 16:00 UTC"
    )


def test_what_is_down_is_named_before_the_open_as_a_warning() -> None:
    state = world().shell.state
    step(state, Condition(state.now, "feed", False, "of the test"))
    (message,) = said(state, "before_open", coming=())
    assert message.level == "WARNING"
    assert message.text == (
        "not ready: feed is down, switch REDUCE; newest bar 1.0 h old, switch REDUCE, 1 agent, 1 basket at the venue;"
        " nothing else is scheduled"
    )


def test_the_result_the_positions_and_the_next_runs_come_after_the_close() -> None:
    state = world().shell.state
    (message,) = said(state, "after_close")
    change = state.switch.last / state.switch.day_open - 1.0
    assert change != 0.0
    assert message.value == change
    one, other = state.ledger.house.lots
    assert one * state.marks[0] < other * state.marks[1], "the largest is named first"
    assert message.text == (
        f"equity {state.switch.last / 1e6} USD, {change:+.2%} since the session before"
        f" ({(state.switch.last - state.switch.day_open) / 1e6:+,.2f}); 2 positions: {other} S1, {one} S0;"
        " no orders refused; 1 basket at the venue, switch RUN;"
        " next daily 2024-10-08 16:00, weekly 2024-10-11 16:00 UTC"
    )


def test_the_five_largest_positions_are_named_and_the_others_counted() -> None:
    state = world(symbols=7, weight=0.1).shell.state
    value = np.array(state.ledger.house.lots) * state.marks
    largest = [f"{state.ledger.house.lots[k]} S{k}" for k in np.argsort(-value)[:5]]
    (message,) = said(state, "after_close")
    assert f"; 7 positions: {', '.join(largest)} and 2 more; " in message.text


def test_no_position_is_named_as_none() -> None:
    (message,) = said(world(weight=0.0).shell.state, "after_close")
    assert message.text.startswith(f"equity {CASH}.00 USD, +0.00% since the session before (+0.00); no positions; ")


def refused(counts: bool = True) -> State:
    """An account whose agent asks for two symbols, one of them restricted, at each of 30 samples."""
    house = Limits(restricted=("S1",))
    return world(house=house, counts_refusals=counts).shell.state


def test_refusals_since_the_last_message_are_counted_by_reason() -> None:
    state = refused()
    assert state.noted.refused == {"restricted": 30}
    (first,) = said(state, "after_close")
    assert "; 30 orders refused: restricted; " in first.text
    (second,) = said(state, "after_close")
    assert "; no orders refused; " in second.text


def test_only_the_most_frequent_reasons_are_named() -> None:
    state = refused()
    state.noted.refused = {"cash": 2, "short": 5, "volatility": 1, "position_weight": 1, "correlation": 1}
    (message,) = said(state, "after_close")
    assert "; 10 orders refused: 5 short, 2 cash, 1 correlation, 2 other; " in message.text


def test_nothing_is_counted_without_a_message_after_the_close() -> None:
    assert refused(counts=False).noted.refused == {}


def test_another_job_has_no_message_and_a_restored_state_has_the_same_one() -> None:
    assert said(world().shell.state, "backup") == []
    state = refused()
    restored = thaw(state.rules, freeze(state))
    assert restored.noted.refused == {"restricted": 30}
    assert msgspec.msgpack.encode(said(restored, "after_close")) == msgspec.msgpack.encode(said(state, "after_close"))

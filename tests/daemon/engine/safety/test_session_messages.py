"""The messages before an open and after a close: from the state, at ticks with their jobs, the same in a replay."""

import msgspec

from quantd.daemon.engine import step
from quantd.trading.effects import Publish
from quantd.trading.events import Condition, Tick
from tests.support.engine import World, block, walk


def state():
    world = World(block(walk(30, 2, 11)), [lambda view: [0.4, 0.4]])
    shell = world.fresh()
    for item in world.items():
        shell.take(item)
    return shell.state


def said(state, job):
    return [e for e in step(state, Tick(state.now + 3_600 * 10**9, jobs=(job,))) if isinstance(e, Publish)]


def test_a_ready_daemon_says_so_before_the_open():
    (message,) = said(state(), "before_open")
    assert (message.kind, message.level) == ("before_open", "INFO")
    assert message.text.startswith("ready; newest bar 1.0 h old, switch RUN, 1 agents")


def test_what_is_down_is_named_before_the_open_as_a_warning():
    now = state()
    step(now, Condition(now.now, "feed", False, "of the test"))
    (message,) = said(now, "before_open")
    assert message.level == "WARNING"
    assert message.text.startswith("not ready: feed is down, switch REDUCE; ")


def test_the_result_of_the_session_comes_after_the_close():
    now = state()
    (message,) = said(now, "after_close")
    change = now.switch.last / now.switch.day_open - 1.0
    assert change != 0.0
    assert message.value == change
    assert f"{change:+.2%} since the session before" in message.text
    assert "; 2 positions, " in message.text


def test_another_job_says_nothing_and_a_replay_says_the_same():
    one, other = state(), state()
    assert said(state(), "backup") == []
    assert msgspec.msgpack.encode(said(one, "after_close")) == msgspec.msgpack.encode(said(other, "after_close"))

"""What a restart does about orders whose answers died with the process."""

import numpy as np

from quantd.daemon.runtime.journal import unanswered
from quantd.trading.events import Operator
from quantd.trading.orders import Cause
from tests.daemon.engine.test_engine import RESEARCH, report, sent
from tests.support.engine import World, block


def world() -> World:
    return World(block(np.full((4, 1), 100.0)), [lambda v: np.array([0.5])], house=RESEARCH)


def test_an_order_that_was_sent_and_never_answered_is_unknown_after_a_restart() -> None:
    run = world()
    basket = sent(run)
    assert [(u.sample, u.n, u.row) for u in unanswered(run.shell.state)] == [(basket.sample, basket.n, [0])]
    run.shell.run(report(basket, 0, 0, Cause.ACCEPTED))
    assert unanswered(run.shell.state) == []


def test_a_cancel_that_was_never_answered_is_unknown_after_a_restart() -> None:
    run = world()
    basket = sent(run)
    run.shell.run(report(basket, 0, 0, Cause.ACCEPTED))
    run.shell.run(Operator(run.shell.state.now, "halt", "x", "me"))
    assert [(u.sample, u.n, u.row) for u in unanswered(run.shell.state)] == [(basket.sample, basket.n, [0])]

"""What a restart does about orders whose answers died with the process."""

import numpy as np

from quantd.daemon.runtime.journal import Journal, fold, unanswered
from quantd.daemon.runtime.timeline import instants
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Refused
from quantd.trading.events import Approved, Flow, Operator, PortfolioClosed, Proposed
from quantd.trading.orders import Cause
from tests.support.engine import World, block
from tests.support.order_reports import RESEARCH, report, sent
from tests.support.orders_by_hand import by_hand


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


def test_a_journal_without_the_effects_of_refusals_folds_to_the_same_digest() -> None:
    """Codec versions before 5 recorded the alert about a refused command alone."""
    recorded = world()
    recorded.shell.log = journal = Journal()
    for instant in instants(recorded.items()):
        for item in instant:
            recorded.shell.take(item)
    now = recorded.shell.state.now
    for command in (
        Approved(now, "yes", "me"),
        Flow(now, -(10**15), "me", reason="greed"),
        Operator(now, "resume", "", "me"),
        PortfolioClosed(now, "core", "flatten", "over", "me"),
        Proposed(now, "nobody", "1", "momentum", "me", np.array([0.5]).tobytes()),
        by_hand(now, "nobody", 0, 5, "more", "me"),
    ):
        (refused,) = (effect for effect in recorded.shell.run(command) if isinstance(effect, Refused))
        assert refused.text
    entries = [decode(data) for data in journal.taken()[0]]
    old = [encode(entry.event, [e for e in entry.effects if not isinstance(e, Refused)]) for entry in entries]  # type: ignore[arg-type, misc]
    again = world()
    again.shell.log = journal = Journal(old)
    fold(again.shell, journal, instants(again.items()))
    assert journal.compared == len(old)
    assert again.shell.digest.hexdigest() == recorded.shell.digest.hexdigest()

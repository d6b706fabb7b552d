"""Incidents as a fold: transitions, acknowledgement, reminders, oscillation, and the same result in every way."""

from collections.abc import Sequence

import pytest

from quantd.adapters.store.incidents.alert_kinds import HOUR_NS
from quantd.adapters.store.incidents.incident_fold import Changes, Incidents
from quantd.trading.effects import LimitMoved, Publish, Switched
from quantd.trading.events import Acknowledged, Condition, Decided, Reconciled, Reminded, Tick

NAMES = ("alpha", "beta")


class Fold:
    """A fold with its messages."""

    def __init__(self) -> None:
        self.incidents = Incidents()
        self.seq = 0
        self.sent: list[tuple[str, str]] = []
        self.held = 0

    def add(self, event: object, *effects: object) -> Changes:
        self.seq += 1
        done = self.incidents.add(event, effects, NAMES.__getitem__, lambda k: f"run-{self.seq}-{k}")
        for k, effect in enumerate(effects):
            if isinstance(effect, Publish):
                route = done.routes.get(k)
                self._count(route is not None and route.held, effect.level, effect.text)
        for notice in done.notices:
            self._count(notice.route.held, notice.level, notice.text)
        return done

    def _count(self, held: bool, level: str, text: str) -> None:
        self.held += held
        if not held:
            self.sent.append((level, text))

    def states(self) -> list[tuple[str, str]]:
        return [(incident.kind, incident.state) for incident in self.incidents.active()]


def feed(ts: int, up: bool) -> tuple[Condition, Publish]:
    level = "INFO" if up else "CRITICAL"
    return Condition(ts, "feed", up), Publish(ts, level, "feed", "feed is back" if up else "feed is down")


def limit(ts: int, before: int, after: int, agent: int = -1, with_alert: bool = True) -> Sequence[object]:
    moved = LimitMoved(ts, [(agent, "max_var", before, after, after * 0.01, 0.03, with_alert)])
    level = ("INFO", "INFO", "WARNING", "CRITICAL")[after]
    name = "" if agent < 0 else NAMES[agent]
    return (moved, Publish(ts, level, "limit_max_var", "var", "", name)) if after > before and with_alert else (moved,)


@pytest.mark.requirement("R-183")
def test_a_condition_opens_an_incident_and_its_recovery_clears_it() -> None:
    fold = Fold()
    fold.add(*feed(1, False))
    (opened,) = fold.incidents.active()
    assert (opened.id, opened.level, opened.state, opened.since_ts) == ("run-1-0", "CRITICAL", "raised", 1)
    done = fold.add(*feed(5, True))
    assert fold.incidents.active() == []
    assert [incident.state for incident in done.incidents] == ["cleared"]
    assert done.routes[0].state == "cleared"
    assert done.routes[0].level == "CRITICAL", "who received the start receives the end"
    assert done.notices == [], "the recovery has an alert of its own"


def test_a_recovery_without_an_incident_and_an_event_change_nothing() -> None:
    fold = Fold()
    assert fold.add(*feed(1, True)).incidents == []
    assert fold.add(Tick(2), Publish(2, "WARNING", "upkeep", "a task failed")).incidents == []
    assert fold.incidents.active() == []


def test_an_acknowledgement_has_who_when_and_why_and_reminders_end_with_it() -> None:
    fold = Fold()
    fold.add(*feed(1, False))
    assert [n.text[:16] for n in fold.add(Reminded(10, "run-1-0")).notices] == ["not acknowledged"]
    assert fold.states() == [("feed", "reminded")]
    fold.add(Acknowledged(20, "run-1-0", "the vendor knows", "ann"))
    (seen,) = fold.incidents.active()
    assert (seen.state, seen.who, seen.reason, seen.acknowledged_ts) == ("acknowledged", "ann", "the vendor knows", 20)
    assert fold.add(Reminded(30, "run-1-0")).incidents == []
    assert fold.add(Acknowledged(31, "run-1-0", "me too", "bob")).incidents == [], "one acknowledgement is enough"
    fold.add(*feed(40, True))
    assert fold.incidents.active() == []
    assert fold.add(Acknowledged(50, "run-1-0", "late", "bob")).incidents == []


def test_a_limit_is_cleared_below_its_warning_level_and_each_book_has_its_own() -> None:
    fold = Fold()
    fold.add(Tick(1), *limit(1, 0, 1))
    assert fold.states() == [], "INFO opens no incident"
    fold.add(Tick(2), *limit(2, 1, 2), *limit(2, 0, 3, agent=1))
    assert [(i.agent, i.level) for i in fold.incidents.active()] == [("", "WARNING"), ("beta", "CRITICAL")]
    fold.add(Tick(3), *limit(3, 3, 2, agent=1))
    assert [(i.agent, i.level) for i in fold.incidents.active()] == [("", "WARNING"), ("beta", "WARNING")]
    done = fold.add(Tick(4), *limit(4, 2, 1))
    assert [n.level for n in done.notices] == ["INFO"]
    assert done.notices[0].text.startswith("cleared: max_var")
    assert [i.agent for i in fold.incidents.active()] == ["beta"]


def test_a_worse_level_withdraws_an_acknowledgement() -> None:
    fold = Fold()
    fold.add(Tick(1), *limit(1, 0, 2))
    fold.add(Acknowledged(2, fold.incidents.active()[0].id, "known", "ann"))
    fold.add(Tick(3), *limit(3, 2, 3))
    (incident,) = fold.incidents.active()
    assert (incident.state, incident.level, incident.who) == ("raised", "CRITICAL", "")


@pytest.mark.requirement("R-183")
def test_a_value_that_oscillates_round_a_limit_sends_a_bounded_number_of_messages() -> None:
    fold = Fold()
    for n in range(500):
        ts = n * HOUR_NS
        fold.add(Tick(ts), *limit(ts, 0, 3))
        fold.add(Tick(ts + 1), *limit(ts + 1, 3, 0))
    assert len(fold.sent) == 18, "the 1st, 2nd, 4th .. 256th start and end of 500"
    (incident,) = fold.incidents.all()
    assert incident.raised == 500
    assert incident.id == "run-1-0-0"


def test_a_limit_whose_rise_was_not_announced_is_not_announced_as_cleared() -> None:
    fold = Fold()
    fold.add(Tick(1), *limit(1, 0, 2, with_alert=False))
    assert fold.states() == [], "a limit that is used on purpose"
    fold.add(Tick(2), *limit(2, 2, 3, with_alert=False))
    assert fold.states() == [("limit_max_var", "raised")], "a breach is on the list in any case"
    fold.add(Tick(3), *limit(3, 3, 0))
    assert fold.sent == []


def test_a_first_breach_is_announced_after_any_number_of_warnings() -> None:
    fold = Fold()
    for n in range(6):
        fold.add(Tick(n), *limit(n, 0, 2))
        fold.add(Tick(n), *limit(n, 2, 0))
    fold.sent.clear()
    fold.add(Tick(9), *limit(9, 0, 2))
    assert fold.sent == []
    fold.add(Tick(10), *limit(10, 2, 3))
    assert fold.sent == [("CRITICAL", "var")]
    for n in range(100):
        fold.add(Tick(11 + n), *limit(11 + n, 3, 2))
        fold.add(Tick(11 + n), *limit(11 + n, 2, 3))
    assert len(fold.sent) == 7, "the 1st, 2nd, 4th .. 64th breach of 101"


def test_a_switch_is_cleared_by_run_and_each_trip_is_announced() -> None:
    fold = Fold()
    for n in range(5):
        fold.add(Tick(n), Switched(n, -1, 0, 1, "loss"), Publish(n, "CRITICAL", "switch", "RUN to REDUCE"))
        assert fold.states() == [("switch", "raised")]
        fold.add(Tick(n), Switched(n, -1, 1, 0, "ann: ok"), Publish(n, "WARNING", "switch", "REDUCE to RUN"))
        assert fold.states() == []
    assert sum(level == "CRITICAL" for level, _ in fold.sent) == 5
    assert fold.sent[-1] == ("INFO", "cleared: the switch is at RUN again, after RUN to REDUCE")


def test_a_policy_that_answers_again_a_matching_account_and_a_person_clear_the_rest() -> None:
    fold = Fold()
    fold.add(Decided(1, 1, failed="late"), Publish(1, "WARNING", "policy", "late", "", "beta"))
    fold.add(Reconciled(2, []), Publish(2, "CRITICAL", "reconciliation", "the venue has 3 SPY more"))
    fold.add(Tick(3), Publish(3, "CRITICAL", "broker", "a bust", "SPY"))
    assert [kind for kind, _ in fold.states()] == ["policy", "reconciliation", "broker"]
    fold.add(Decided(2, 0))
    assert len(fold.states()) == 3, "another agent answered"
    fold.add(Decided(2, 1))
    fold.add(Reconciled(4, []))
    assert [kind for kind, _ in fold.states()] == ["broker"]
    fold.add(Acknowledged(5, fold.incidents.active()[0].id, "booked by hand", "ann"))
    assert fold.states() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measurement_that_is_no_number_is_none(value: float) -> None:
    fold = Fold()
    fold.add(Tick(1), LimitMoved(1, [(-1, "max_var", 0, 3, value, 0.03, True)]))
    assert fold.incidents.active()[0].value is None

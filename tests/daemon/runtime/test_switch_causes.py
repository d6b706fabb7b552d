"""The cause of a switch from the records of its move, whatever its alerts say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.daemon.runtime.switch_causes import HOUSE, SwitchCause, SwitchCauses, cause_of
from quantd.trading.effects import Publish, Switched
from quantd.trading.events import Condition, Decided, Operator, Reconciled

TS = 1_553_889_600_000_000_000
SINCE = "2019-03-29T20:00:00Z"

CASES = {
    "a halt": (Operator(TS, "halt", "spreads: wide", "api: owner"), "operator", ("api: owner", "spreads: wide")),
    "a pause": (Operator(TS, "pause", "paused, again", "cli", "trend"), "operator", ("cli", "paused, again")),
    "a condition": (Condition(TS, "clock", False, "9 s: jumped"), "clock", ("", "clock is down: 9 s: jumped")),
    "an account": (Condition(TS, "account", False, "it is blocked"), "account", ("", "it is blocked")),
    "a limit": (None, "daily_loss", ("", "daily loss limit reached")),
    "failures": (
        Decided(4, 0, failed="ValueError: no bars"), "suspended",
        ("", "suspended after failures in a row, the last: ValueError: no bars"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@given(words=st.lists(st.text(max_size=40), min_size=3, max_size=3))
def test_a_reworded_alert_leaves_the_cause(case: str, words: list[str]) -> None:
    event, reason, expected = CASES[case]
    moved = Switched(TS, -1, 0, 1, reason)
    alerts = [Publish(TS, "CRITICAL", kind, text) for kind, text in zip(("x", "switch", "y"), words, strict=True)]
    cause = cause_of(event, [alerts[0], moved, alerts[1], alerts[2]], moved)
    assert cause == SwitchCause(TS, SINCE, *expected)


def test_a_reason_without_words_of_its_own_has_the_whole_alert_about_it() -> None:
    moved = Switched(TS, -1, 0, 1, "reconciliation")
    text = "reconciliation: the venue has SPY: 3 more"
    effects = [Publish(TS, "CRITICAL", "reconciliation", text), moved, Publish(TS, "CRITICAL", "switch", "RUN: x")]
    assert cause_of(Reconciled(TS, []), effects, moved).text == text
    assert cause_of(Reconciled(TS, []), [moved], moved).text == "reconciliation"


def test_each_switch_has_its_newest_cause_until_it_runs_again() -> None:
    causes = SwitchCauses()
    causes.add(Operator(TS, "reduce", "first", "cli"), [Switched(TS, -1, 0, 1, "operator")], ["core", "trend"])
    causes.add(Operator(TS, "pause", "odd", "cli"), [Switched(TS, 1, 0, 1, "operator")], ["core", "trend"])
    causes.add(Operator(TS + 1, "halt", "then", "cli"), [Switched(TS + 1, -1, 1, 2, "operator")], ["core", "trend"])
    texts = [cause and cause.text for cause in map(causes.of, (HOUSE, "core", "trend"))]
    assert texts == ["then", None, "odd"]
    causes.add(Operator(TS, "resume", "fine", "cli"), [Switched(TS, -1, 2, 0, "cli: fine")], ["core", "trend"])
    assert (causes.of(HOUSE), causes.of("trend") is None) == (None, False)

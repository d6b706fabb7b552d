"""A walked policy decides as the choice in force, which keeps its memory until another one replaces it."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantd.research.studies.walk_calendar import WalkError
from quantd.research.studies.walk_policy import WalkedPolicy, walked
from quantd.trading.sessions import DAY_NS


class Counting:
    """Gives all to one column, and counts its decisions in its memory."""

    uses_macro = ("vix",)

    def __init__(self, column, lookback):
        self.column, self.lookback = column, lookback
        self.candidates = {f"model {column}": column + 3}

    def act(self, view, memory):
        return np.eye(2)[self.column], {"count": memory.get("count", np.zeros(1)) + 1.0}


def decided(policy, times):
    memory, decisions = {}, []
    for time in times:
        view = SimpleNamespace(time=time, prices=np.ones(2), universe=SimpleNamespace(instruments=("A", "B")))
        weights, memory = policy.act(view, memory)
        decisions.append((int(weights.argmax()), int(memory["fitted/count"][0])))
    return decisions


def test_each_refit_decides_from_its_open_on_and_an_equal_choice_keeps_its_memory():
    policies = {("20",): Counting(0, 20), ("60",): Counting(1, 60)}
    policy = walked(policies, [("20",), ("20",), ("60",), ("20",)], [100, 200, 300, 400])
    assert decided(policy, [100, 150, 199, 200, 299, 300, 301, 400]) == [
        (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 2), (0, 1)
    ]  # fmt: skip


def test_a_policy_that_was_trained_on_bars_after_its_refit_is_refused():
    late = Counting(1, 60)
    late.trained_until_ns = 20 * DAY_NS
    policies = {("a",): Counting(0, 20), ("models/late",): late}
    order = [("a",), ("models/late",)]
    assert walked(policies, order, [10 * DAY_NS, 20 * DAY_NS])
    with pytest.raises(WalkError, match=r"refit 1970-01-20: models/late was trained on bars to 1970-01-20"):
        walked(policies, order, [10 * DAY_NS, 20 * DAY_NS - 1])


def test_other_choices_or_dates_are_another_policy():
    policies = {("a",): Counting(0, 20), ("b",): Counting(1, 60)}
    digests = {
        walked(policies, chosen, since).digest
        for chosen, since in (([("a",)], [100]), ([("b",)], [100]), ([("a",)], [101]), ([("a",), ("b",)], [100, 200]))
    }
    assert len(digests) == 4
    assert isinstance(walked(policies, [("a",)], [100]), WalkedPolicy)

"""What one bar of a journalled run costs, in counts: calls of Python, blocks of memory and rows of the journal.

No time is measured, so that the figures are the same on each machine. A count above its budget is a loss of speed that
somebody has to see: find the call that came, or raise the budget with the reason in the commit.
"""

import gc
import sys
from types import FrameType
from typing import NamedTuple

import pytest

from benchmarks.engine import CASES
from quantd.daemon.runtime.journal import Journal
from quantd.engine_build.state import short


class Cost(NamedTuple):
    """By bar: calls of Python functions, blocks of memory that a commit still holds, rows of the journal."""

    calls: float
    blocks: float
    rows: float


BUDGETS = {
    "quiet": Cost(26, 22, 2.1),
    "daily": Cost(70, 310, 5),
    "three daily": Cost(170, 390, 7),
    "one symbol": Cost(45, 30, 3),
    "default profiles": Cost(1000, 155, 4.9),
}
"""By case of `benchmarks/engine.py`, over its last bars. By steps alone "daily" takes 571 calls a bar.

Most calls of "default profiles" measure limits over returns, which its profiles bring near their bounds, and plan the
rest of decisions that its limits cut: 136 follow-ups in 300 bars are planned by steps.
"""

BARS = {"default profiles": (500, 800)}
"""Bars before the count begins, and at its end; for the others 100 and 300."""


def cost_of(case: str) -> Cost:
    """The cost of a bar of a case, whose items are taken one by one."""
    first, last = BARS.get(case, (100, 300))
    body, items, _ = CASES[case].world(last)
    body.log = journal = Journal()
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    begin = next(k for k, item in enumerate(items) if getattr(item, "index", -1) == first)
    for item in items[:begin]:
        body.take(item)
    journal.taken()
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        sys.setprofile(count)
        for item in items[begin:]:
            body.take(item)
        sys.setprofile(None)
        blocks = sys.getallocatedblocks() - before
    finally:
        sys.setprofile(None)
        gc.enable()
    bars = last - first
    return Cost(calls / bars, blocks / bars, len(journal.entries) / bars)


@pytest.mark.long
@pytest.mark.skipif(not short().startswith("compiled"), reason="the calls of an engine from the source are others")
@pytest.mark.parametrize("case", BUDGETS)
def test_a_bar_stays_within_its_budget(case: str) -> None:
    cost, budget = cost_of(case), BUDGETS[case]
    over = [
        f"{name} {now:.1f} of {most:g}"
        for name, now, most in zip(Cost._fields, cost, budget, strict=True)
        if now > most
    ]
    assert not over, over
    # a budget that nothing comes near is none
    assert all(now > 0.6 * most for now, most in zip(cost, budget, strict=True)), cost

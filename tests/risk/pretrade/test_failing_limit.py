"""A limit of an installed package that raises refuses what adds risk, and lets reductions pass."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.catalogue import EXTRA, LIMIT_OF, Limits
from quantd.risk.limits.record import Barred, Capped, Counts, Limit, Openings, Refusal
from quantd.risk.limits.ruleset import BARS, CAPS, COUNTS, OPENINGS
from quantd.risk.pretrade.gate import Account, gate
from quantd.trading.instruments import Instrument, Universe
from tests.support.risk_books import make_context

CODE = 126
"""A code that no limit has; the page on extending takes 120 and 121."""
FAILS = Limit("fails", 0, "fails", refusals=(Refusal(CODE, "FAILS", "fails"),))
UNIVERSE = Universe(tuple(map(Instrument, "ABC")))


def fail(*given: Any) -> Any:
    raise ZeroDivisionError


KINDS: dict[str, tuple[list[Any], Any]] = {
    "cap": (CAPS, Capped(1, fail)),
    "bar": (BARS, Barred(1, fail)),
    "count": (COUNTS, Counts(1, fail, lambda value: 5)),
    "opening": (OPENINGS, Openings(1, fail)),
}


@pytest.fixture(params=KINDS)
def book(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Account]]:
    """A market and a book of 5 A; a limit of one kind raises whenever it is asked."""
    table, record = KINDS[request.param]
    table.append((FAILS, record))
    returns = np.random.default_rng(2).normal(0.0, 0.01, (80, 3))
    ctx = make_context(np.full(3, 100.0), returns, list(UNIVERSE.symbols), universe=UNIVERSE)
    yield ctx, Account(lots=np.array([5.0, 0.0, 0.0]), cash=100_000.0, equity=100_500.0)
    table.remove((FAILS, record))


def test_a_limit_of_a_package_that_raises_refuses_what_adds_risk(
    book: tuple[Any, Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRA, "fails", FAILS)
    monkeypatch.setitem(LIMIT_OF, CODE, "fails")
    verdict = gate(*book, np.array([-2.0, 3.0, 0.0]), Limits(extra=(("fails", True),)))
    assert verdict.lots.tolist() == [-2.0, 0.0, 0.0]
    assert verdict.reason.tolist() == [0, CODE, 0]


def test_a_limit_of_the_product_that_raises_is_a_fault_that_stops_the_step(book: tuple[Any, Account]) -> None:
    with pytest.raises(ZeroDivisionError):
        gate(*book, np.array([-2.0, 3.0, 0.0]), Limits())

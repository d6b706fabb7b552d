"""`risk`: each limit with what is left of it, and how much more of each symbol passes, to the lot."""

import numpy as np
import pytest

from quantd.daemon.runtime.loop import Shell
from quantd.daemon.views.headroom import Book, RiskNow, Unknown, named, risk_now
from quantd.daemon.views.limit_rows import off
from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from tests.support.engine import World, block, walk

HOUSE_LIMITS = Limits(
    max_position_weight=0.4,
    max_gross_exposure=0.9,
    max_order_notional=200_000.0,
    restricted=("S3",),
    max_drawdown=0.2,
    var=Tail(limit=0.03, lookback=70),
    correlation=Correlation(lookback=70, threshold=0.5),
    collar=0.05,
    fee_bp=2.0,
)


def world(house: Limits = HOUSE_LIMITS, days: int = 90) -> Shell:
    """Four symbols, two agents; the last basket is on its way."""
    weights = [np.array([0.2, 0.1, 0.05, 0.0]), np.array([0.1, -0.1, 0.3, 0.0])]
    acts = [lambda view, w=w: w * (1.0 + 0.2 * np.sin(view.time)) for w in weights]
    return World(block(walk(days, 4, 3)), acts, house=house, agent=house, shares=[0.5, 0.4], lookback=80).run().shell


def report(shell: Shell, agent: str | None = None, symbol: str | None = None) -> tuple[Book, RiskNow]:
    number, columns = named(shell.state, agent, symbol)
    book = Book(shell.state, number)
    return book, risk_now(shell.state, book, "run", shell.ts, list(book.rooms(sorted(columns))))


def test_every_limit_is_told_once_on_or_off() -> None:
    book, now = report(world())
    on = {row.limit for row in now.limits}
    assert on >= {
        "max_position_weight", "max_gross_exposure", "max_order_notional", "restricted", "max_drawdown", "var",
        "correlation", "cash", "max_price_age_ns",
    }  # fmt: skip
    closed = {limit.limit for limit in now.off}
    assert closed == {key for key, _, _ in off(book.limits)}
    assert not on & closed
    assert all(limit.switch_on.endswith(" in [risk]") for limit in now.off)
    for row in now.limits:
        if row.value is not None and row.headroom is not None and row.bound is not None:
            implied_bound = row.value - row.headroom if row.floor else row.value + row.headroom
            assert implied_bound == pytest.approx(row.bound)
    measured = {row.limit for row in now.limits if row.value is not None}
    assert on - measured == {"max_order_notional", "restricted"}


def test_an_agents_book_has_its_own_limits() -> None:
    shell = world()
    _, house = report(shell)
    book, agent_risk = report(shell, "a1")
    assert agent_risk.book == "a1"
    assert agent_risk.limits != house.limits
    assert all("[[agents]] a1" in limit.switch_on for limit in agent_risk.off)
    assert book.account.equity == shell.state.books_micro[1] / 1e6


def test_nobody_of_that_name_is_told_with_the_nearest() -> None:
    state = world(days=3).state
    assert named(state, "a1", "S2") == (1, [2])
    with pytest.raises(Unknown, match="there is no agent a7; the agents are a0, a1"):
        named(state, "a7", None)
    with pytest.raises(Unknown, match=r"T1 is not in \[universe\] symbols; .*S"):
        named(state, None, "T1")


@pytest.mark.parametrize("agent", [None, "a0"])
def test_the_largest_positions_come_first_and_a_search_finds_a_part_of_a_symbol(agent: str | None) -> None:
    state = world().state
    number, columns = named(state, agent, None)
    held = np.abs(state.lots(number) * state.marks)
    assert [held[column] for column in columns] == sorted(held, reverse=True)
    assert len(set(held)) > 2
    assert named(state, agent, None, "s2") == (number, [2])
    assert named(state, agent, None, "absent") == named(state, agent, "S2", "s1") == (number, [])

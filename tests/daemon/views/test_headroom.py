"""`risk`: each limit with what is left of it, and how much more of each symbol passes, to the lot."""

import msgspec
import numpy as np
import pytest

from quantd.daemon.engine.state import HOUSE
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.views.headroom import Book, RiskNow, Unknown, named, risk_now
from quantd.daemon.views.limit_rows import off
from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.trading.events import Operator
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


def test_what_is_shown_is_what_is_held() -> None:
    shell = world()
    book, now = report(shell)
    state = shell.state
    assert book.ctx is not None
    exposure = np.abs(state.lots(HOUSE) * book.ctx.px)
    rows = {row.limit: row for row in now.limits}
    assert rows["max_gross_exposure"].value == pytest.approx(exposure.sum() / (state.equity_micro / 1e6))
    heaviest = state.universe.symbols[int(exposure.argmax())]
    assert rows["max_position_weight"].words == f"position weight {heaviest}"
    assert rows["max_position_weight"].value == pytest.approx(exposure.max() / (state.equity_micro / 1e6))
    for room, lots in zip(now.room, state.ledger.house.lots, strict=True):
        assert int(room.held) == lots


def test_an_agents_book_has_its_own_limits() -> None:
    shell = world()
    _, house = report(shell)
    book, agent_risk = report(shell, "a1")
    assert agent_risk.book == "a1"
    assert agent_risk.limits != house.limits
    assert all("[[agents]] a1" in limit.switch_on for limit in agent_risk.off)
    assert book.account.equity == shell.state.books_micro[1] / 1e6


def test_a_switch_that_is_not_run_is_what_stops_everything_that_adds() -> None:
    shell = world()
    shell.run(Operator(shell.state.now, "reduce", "lunch", "me"))
    for agent in (None, "a0"):
        _, now = report(shell, agent)
        assert now.switch == "REDUCE"
        assert {(r.buy.qty, r.buy.limit) for r in now.room if int(r.held) >= 0} == {("0", "the switch")}
        assert any(int(r.sell.qty or 0) > 0 for r in now.room)
    shell = world()
    shell.run(Operator(shell.state.now, "reduce", "lunch", "me", "a1"))
    assert {row.buy.limit for row in report(shell, "a1")[1].room} >= {"the switch"}
    assert report(shell)[1].switch == "RUN"


def test_nobody_of_that_name_is_told_with_the_nearest() -> None:
    state = world(days=3).state
    assert named(state, "a1", "S2") == (1, [2])
    with pytest.raises(Unknown, match="there is no agent a7; the agents are a0, a1"):
        named(state, "a7", None)
    with pytest.raises(Unknown, match=r"T1 is not in \[universe\] symbols; .*S"):
        named(state, None, "T1")


def test_before_the_first_sample_nothing_is_measured() -> None:
    fresh = World(block(walk(3, 2, 1)), [lambda view: np.zeros(2)], house=HOUSE_LIMITS).shell
    _, now = report(fresh)
    assert now.room == []
    assert all(row.value is None for row in now.limits)


def test_too_little_history_leaves_a_limit_unmeasured_and_stops_all_that_adds() -> None:
    _, now = report(world(days=20))
    assert next(row for row in now.limits if row.limit == "var").value is None
    assert {r.buy.reason for r in now.room if r.buy.qty == "0"} >= {"history"}


def test_the_document_is_what_its_type_says() -> None:
    document = msgspec.json.decode(msgspec.json.encode(report(world())[1]))
    assert msgspec.to_builtins(msgspec.convert(document, RiskNow, strict=True)) == document


@pytest.mark.parametrize("agent", [None, "a0"])
def test_the_largest_positions_come_first_and_a_search_finds_a_part_of_a_symbol(agent: str | None) -> None:
    state = world().state
    number, columns = named(state, agent, None)
    held = np.abs(state.lots(number) * state.marks)
    assert [held[column] for column in columns] == sorted(held, reverse=True)
    assert len(set(held)) > 2
    assert named(state, agent, None, "s2") == (number, [2])
    assert named(state, agent, None, "absent") == (number, [])

"""Brackets: entries whose two exits never both fill."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.splits import scale_mark, split_books
from quantd.risk.limits.catalogue import override
from quantd.trading.effects import Filled, ProposalEnded, Publish
from quantd.trading.events import CancelRequested, Operator, ProposalReviewed
from quantd.trading.instruments import NANO
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, Wish
from tests.support.minutes import at
from tests.support.night import FREE
from tests.support.price_paths import FIRST, Counted, Path, replayed


def bracket(
    lots: int, target: float = 0.0, stop: float = 0.0, limit: float = 0.0, stop_limit: float = 0.0, end: int = -1
) -> Wish:
    exits = tuple(round(price * NANO) for price in (target, stop, stop_limit))
    return Wish(0, lots, round(limit * NANO), end, exits=exits)


def filled(run: Path, id: str) -> int:
    """The signed lots that orders with the cause a0/id filled."""
    keys = {(basket.sample, basket.n) for basket in run.sent(id)}
    return sum(sum(fill.lots) for fill in run.of(Filled) if (fill.sample, fill.n) in keys)


def ends(run: Path) -> dict[str, str]:
    return {effect.id: effect.outcome for effect in run.of(ProposalEnded)}


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("move", "filled_exit", "ended_exit"),
    [(4.0, "#take_profit", "#stop_loss"), (-4.0, "#stop_loss", "#take_profit")],
)
def test_the_exit_that_is_reached_first_fills_and_the_other_ends(
    side: int, move: float, filled_exit: str, ended_exit: str
) -> None:
    run = Path({30: 100.0 + side * move, 60: 100.0 - side * move, 90: 100.0}, override(FREE, allow_short=True))
    run.until({FIRST: lambda: run.order(bracket(10 * side, 100.0 + 3 * side, 100.0 - 3 * side))})
    assert (filled(run, "1"), filled(run, "1" + filled_exit)) == (10 * side, -10 * side)
    assert filled(run, "1" + ended_exit) == 0
    assert list(run.shell.state.lots(0)) == [0, 0]
    assert (run.shell.state.brackets, run.shell.state.awaiting) == ([], [])
    (target,) = run.sent("1#take_profit")
    assert target.worst_nano == [round((100.0 + 3 * side) * NANO)], "it rests from the fill of the entry on"
    assert ends(run) == ({"1#stop_loss": "withdrawn"} if "take" in filled_exit else {})
    assert not [alert for alert in run.of(Publish) if "have ended" in alert.text]


def test_a_stop_fires_at_the_first_bar_once_the_limit_order_is_cancelled() -> None:
    run = Path({30: 96.0, 31: 99.0})
    run.until({FIRST: lambda: run.order(bracket(10, 103.0, 97.0))})
    (stop,) = run.sent("1#stop_loss")
    assert stop.ts == at(0, 31), "the price is back above the stop when it is sent: it was reached"
    assert list(run.shell.state.lots(0)) == [0, 0]


def test_an_order_with_one_exit_has_no_other() -> None:
    stop = Path({30: 96.0})
    stop.until({FIRST: lambda: stop.order(bracket(10, stop=97.0))})
    assert (filled(stop, "1#stop_loss"), stop.sent("1#take_profit"), stop.shell.state.brackets) == (-10, [], [])
    target = Path({30: 104.0})
    target.until({FIRST: lambda: target.order(bracket(10, target=103.0))})
    assert (filled(target, "1#take_profit"), target.sent("1#stop_loss"), target.shell.state.brackets) == (-10, [], [])


def test_an_entry_that_never_fills_leaves_no_exit() -> None:
    run = Path({30: 104.0, 60: 96.5})
    run.until({
        FIRST: lambda: run.order(bracket(10, 103.0, 93.0, limit=95.0)),
        20: lambda: run.shell.run(cancel_of(run, "1")),
    })  # fmt: skip
    assert (filled(run, "1"), run.sent("1#take_profit"), run.sent("1#stop_loss")) == (0, [], [])
    assert ends(run) == {"1#stop_loss": "withdrawn", "1#take_profit": "withdrawn"}
    assert run.shell.state.brackets == []


def cancel_of(run: Path, id: str) -> CancelRequested:
    (basket,) = run.sent(id)
    return CancelRequested(run.shell.state.now, basket.sample, basket.n, 0, "no longer", "me")


@pytest.mark.parametrize("exit", ["#take_profit", "#stop_loss"])
def test_the_cancel_of_one_exit_ends_the_other_and_tells_what_remains(exit: str) -> None:
    run = Path({60: 96.0, 90: 104.0})

    def act() -> None:
        now = run.shell.state.now
        review = ProposalReviewed(now, "a0", "1#stop_loss", False, "no longer", "me")
        run.shell.run(review if exit == "#stop_loss" else cancel_of(run, "1#take_profit"))

    run.until({FIRST: lambda: run.order(bracket(10, 103.0, 97.0)), 30: act})
    assert list(run.shell.state.lots(0)) == [10, 0]
    assert (run.shell.state.brackets, run.shell.state.awaiting, list(run.shell.state.working)) == ([], [], [])
    (told,) = [alert.text for alert in run.of(Publish) if "have ended" in alert.text]
    assert told.endswith("10 S0 of it remain")


def test_a_group_counts_once_and_a_sale_of_the_position_ends_it() -> None:
    run = Path({90: 96.0})
    seen = []

    def counted() -> None:
        account = account_of(run.shell.state, 0)
        assert account.down is not None
        seen.append((account.down[0], account.open_orders))

    run.until({
        FIRST: lambda: run.order(bracket(10, 103.0, 97.0)), 20: counted,
        30: lambda: run.order(Wish(0, -10, 0, THE_DAY), id="2"),
    })  # fmt: skip
    assert seen == [(10.0, 1)]
    assert list(run.shell.state.lots(0)) == [0, 0]
    assert (filled(run, "2"), run.shell.state.brackets, run.sent("1#stop_loss")) == (-10, [], [])


def test_a_halt_ends_the_group() -> None:
    run = Path({90: 96.0})
    halt = lambda: run.shell.run(Operator(run.shell.state.now, "halt", "a test", "me"))  # noqa: E731
    run.until({FIRST: lambda: run.order(bracket(10, 103.0, 97.0)), 30: halt})
    assert (run.shell.state.brackets, run.shell.state.awaiting, list(run.shell.state.working)) == ([], [], [])
    assert list(run.shell.state.lots(0)) == [10, 0]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (bracket(10, 99.0, 97.0), "take profit 99.00 of S0 must be above 100.00"),
        (bracket(10, 103.0, 101.0), "stop loss 101.00 of S0 must be below 100.00"),
        (bracket(10, 103.0, 98.5, limit=98.0), "stop loss 98.50 of S0 must be below 98.00"),
        (bracket(10, 103.0, 97.001), "no multiple of its tick"),
        (bracket(10, 103.0, 97.0, stop_limit=50.0), "is beyond the collar of 97.00"),
        (bracket(10), "exits without a price"),
        (bracket(-5, 95.0, 105.0), "open or add to a position"),
    ],
)
def test_exits_that_cannot_be_meant_are_refused(wish: Wish, words: str) -> None:
    run = Path({})
    run.until({2: lambda: run.hold(10), FIRST: lambda: run.order(wish)})
    assert any(words in text for text in run.refusals), run.refusals
    assert (run.sent(), run.shell.state.brackets) == ([], [])


def test_a_run_with_a_bracket_is_the_same_from_its_events_and_from_a_snapshot() -> None:
    run, kept = Path({30: 104.0, 50: 96.0}), []
    run.until({
        FIRST: lambda: run.order(bracket(10, 105.0, 97.0)),
        20: lambda: kept.append((freeze(run.shell.state), len(run.events))),
    })  # fmt: skip
    end = freeze(run.shell.state)
    assert filled(run, "1#stop_loss") == -10
    assert replayed(run, State(run.rules), run.events) == end
    ((frozen, done),) = kept
    assert replayed(run, thaw(run.rules, frozen), run.events[done:]) == end


def test_two_stops_that_fire_at_one_bar_beside_a_resting_entry_both_close_their_positions() -> None:
    """The entry that rests on the side of the stops is withdrawn, and no stop."""
    closes = {bar: 100.0 if bar < 20 or bar == 59 else 98.45 for bar in range(60)}
    run = Path(closes, override(FREE, max_position_weight=0.8, collar=0.1, allow_short=True))
    acts: dict[int, list[Wish]] = {3: [bracket(-100, 98.44, 101.56, end=UNTIL_CANCELLED)], 20: []}
    for side in (1, -1, -1):
        target, stop, limit = (round(98.45 * (1 + side * part), 2) for part in (0.015625, -0.015625, -0.002))
        acts[20].append(bracket(100 * side, target, stop, limit=limit, end=UNTIL_CANCELLED))
    run.until(
        {bar: lambda bar=bar: [run.order(wish, id=f"{bar}-{k}") for k, wish in enumerate(acts[bar])] for bar in acts}
    )
    assert [filled(run, f"20-{k}#stop_loss") for k in (1, 2)] == [100, 100]
    assert run.shell.state.lots(HOUSE)[0] == 0.0


@given(
    st.lists(st.floats(-0.02, 0.02), min_size=60, max_size=60),
    st.lists(
        st.tuples(
            st.integers(3, 50), st.integers(-30, 30).filter(bool), st.floats(0.003, 0.03), st.floats(0.003, 0.03),
            st.sampled_from(["market", "limit"]),
        ),
        max_size=4,
    ),
    st.lists(st.tuples(st.integers(4, 59), st.sampled_from(["close", "halt", "cancel"])), max_size=2),
)  # fmt: skip
@settings(deadline=None, max_examples=25)
def test_no_group_fills_both_exits_or_more_than_its_entry(
    moves: list[float], asked: Sequence[tuple[int, int, float, float, str]], also: list[tuple[int, str]]
) -> None:
    closes = np.round(100.0 * np.exp(np.cumsum(moves)), 2)
    run = Counted(
        {bar: float(price) for bar, price in enumerate(closes)},
        override(FREE, max_position_weight=0.8, collar=0.1, allow_short=True),
    )
    acts: dict[int, list[object]] = {}

    def later(bar: int, act: object) -> None:
        acts.setdefault(bar, []).append(act)

    for number, (bar, percent, gain, loss, kind) in enumerate(asked):
        side, mark = (1 if percent > 0 else -1), float(closes[bar])
        lots = round(percent / 100 * run.shell.state.equity_micro / 1e6 / 100)
        limit = round(mark * (1 - 0.002 * side), 2) if kind == "limit" else 0.0
        prices = (round(mark * (1 + side * gain), 2), round(mark * (1 - side * loss), 2))
        wish = bracket(lots, *prices, limit=limit, end=UNTIL_CANCELLED)
        later(bar, lambda wish=wish, number=number: run.order(wish, id=f"{number}"))
    for bar, kind in also:
        later(bar, lambda kind=kind, bar=bar: disturb(run, kind, bar))
    run.until({bar: lambda bar=bar: [act() for act in acts[bar]] for bar in acts})  # type: ignore[operator]
    for number in range(len(asked)):
        entry, target, stop = (filled(run, f"{number}{leg}") for leg in ("", "#take_profit", "#stop_loss"))
        assert abs(target + stop) <= abs(entry), (entry, target, stop)
        assert target * entry <= 0
        assert stop * entry <= 0
        if target + entry == 0:
            assert stop == 0
    assert {b.entry.id for b in run.shell.state.brackets} <= {str(n) for n in range(len(asked))}
    assert run.shell.state.lots(HOUSE)[0] == run.shell.state.lots(0)[0]


def disturb(run: Path, kind: str, bar: int) -> None:
    """Close the position at the market, halt, or cancel the newest order."""
    state = run.shell.state
    if kind == "halt":
        run.shell.run(Operator(state.now, "halt", "a test", "me"))
    elif kind == "close":
        run.order(Wish(0, -int(state.lots(0)[0]), 0, THE_DAY), id=f"close-{bar}")
    else:
        for work in list(state.working.values())[-1:]:
            run.shell.run(CancelRequested(state.now, work.sample, work.n, 0, "no longer", "me"))


def test_a_split_rescales_a_stop_order_and_the_exits_of_a_bracket() -> None:
    run = Path({})

    def act() -> None:
        run.order(bracket(10, 103.0, 97.0))
        run.order(Wish(0, -6, round(91.01 * NANO), UNTIL_CANCELLED, trigger_nano=95 * NANO), id="2")

    def split() -> None:
        state = run.shell.state
        rows = {book: state.open_rows(book) for book in (0, HOUSE)}
        scale_mark(state, 0, 2, 1)
        split_books(state, state.now, 0, 2, 1)
        assert [(p.id, p.orders[0].lots, p.orders[0].trigger_nano) for p in state.awaiting] == [
            ("2", -12, round(47.5 * NANO)), ("1#stop_loss", -20, round(48.5 * NANO)),
        ]  # fmt: skip
        assert state.awaiting[0].orders[0].limit_nano == round(45.51 * NANO), "rounded to the tick, up for a sale"
        (group,) = state.brackets
        assert (group.left, group.entry.orders[0].exits[:2]) == (20, (round(51.5 * NANO), round(48.5 * NANO)))
        assert {book: [lots for _, lots, *_ in state.open_rows(book)] for book in rows} == {
            book: [2 * lots for _, lots, *_ in before] for book, before in rows.items()
        }

    run.until({2: lambda: run.hold(20), FIRST: act, 20: split})

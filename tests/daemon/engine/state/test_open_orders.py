"""A basket at the venue: what of it may still fill, for whom, and what a snapshot keeps of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantd.daemon.engine.state.open_orders import FrozenOrders, Row, Working
from quantd.trading.execution import split_row
from quantd.trading.ledger.shares import share
from quantd.trading.orders import OrderBasket, OrderState


@pytest.mark.parametrize("lots", [1, 2, 3])
def test_what_may_still_fill_has_the_sign_of_its_order(lots: int) -> None:
    basket = OrderBasket(1, 1, 5, [0, 1, 2], [lots, -lots, lots], [10**9] * 3, [0] * 3, {})
    work = Working.sent(basket, [[(0, lots)], [(1, lots)], [(0, lots)]], 2)
    work.state[2] = int(OrderState.FILLED)
    assert list(work.open_shares()) == [(0, 0, lots), (1, 1, -lots)]


row = st.dictionaries(st.integers(0, 3), st.integers(1, 50), min_size=1).map(lambda parts: sorted(parts.items()))
fill = st.tuples(st.just("fill"), st.integers(0, 4), st.integers(1, 60))
split = st.tuples(st.just("split"), st.integers(0, 2), st.sampled_from([(2, 1), (1, 3), (3, 2), (1, 100)]))


@given(
    st.lists(st.tuples(row, st.booleans(), st.integers(0, 2)), min_size=1, max_size=5),
    st.lists(fill | split, max_size=6),
    st.booleans(),
)
@example([([(0, 1), (1, 4)], True, 0)], [("fill", 0, 5), ("split", 0, (2, 1))], False)  # all filled, and no end yet
def test_columns_and_plain_lists_of_a_basket_say_the_same_after_fills_and_splits(
    rows: list[tuple[list[tuple[int, int]], bool, int]], events: list[tuple[str, int, object]], lone: bool
) -> None:
    """A fill of one row, or a split of a symbol: shares that become 0 by a split are omitted."""
    shares = [[(0, sum(lots for _, lots in parts))] if lone else parts for parts, _, _ in rows]
    lots = [
        sum(part for _, part in parts) * (1 if buy else -1) for parts, (_, buy, _) in zip(shares, rows, strict=True)
    ]
    symbols = [symbol for *_, symbol in rows]
    basket = OrderBasket(7, 2, 5, symbols, lots, [10**9] * len(rows), [0] * len(rows), {})
    work = Working.sent(basket, shares, 1 if lone else 4)
    plain = FrozenOrders(
        basket, list(lots), [10**9] * len(rows), [0] * len(rows), [0] * len(rows), list(shares), len(rows), whole=shares
    )
    assert work.accept()
    plain.state = [1] * len(rows)
    for kind, at, what in events:
        if kind == "fill" and at < len(rows) and isinstance(what, int):
            # a split may leave an agent less than the order has open
            if (new := min(what, sum(lots for _, lots in plain.shares[at]))) == 0:
                continue
            parts = dict(share(new, plain.shares[at]))
            plain.shares[at] = [(who, part - parts.get(who, 0)) for who, part in plain.shares[at]]
            plain.filled[at] += new
            work.put_shares(at, [(who, part - parts.get(who, 0)) for who, part in work.shares_of(at)])
            work.filled[at] += new
        elif kind == "split" and isinstance(what, tuple):
            work.split(at, *what)
            for k, column in enumerate(symbols):
                if column == at:
                    plain.lots[k], plain.filled[k], plain.worst_nano[k] = split_row(
                        plain.lots[k], plain.filled[k], plain.worst_nano[k], *what
                    )
                    plain.shares[k] = share(abs(plain.lots[k]) - plain.filled[k], plain.shares[k])
        assert work.freeze() == plain
        assert [work.shares_of(k) for k in range(len(rows))] == plain.shares
        assert work.open_shares() == [
            (k, who, part if plain.lots[k] > 0 else -part)
            for k, parts in enumerate(plain.shares)
            for who, part in parts
            if part
        ]
    assert work.basket == basket
    again = Working.thaw(work.freeze(), 1 if lone else 4)
    assert again.freeze() == plain
    assert work.untouched() <= (plain.lots == lots and plain.shares == shares)
    assert events or (work.untouched() and again.untouched())


def test_an_old_snapshot_without_the_lots_when_sent_stays_without_them() -> None:
    basket = OrderBasket(1, 1, 5, [0], [5], [10**9], [0], {})
    frozen = FrozenOrders(basket, [5], [10**9], [2], [2], [[(0, 3)]], 1, {0: Row([(0, 2)], 3, 1)}, {0: 1})
    work = Working.thaw(frozen, 1)
    assert work.freeze() == frozen
    assert (work.sent_shares, work.shares_of(0), work.untouched()) == ([], [(0, 3)], False)

"""Edges of the gate that random books seldom meet: one lot, the last lot, and what no evaluator of breaches can see."""

from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.catalogue import Correlation, Limits, Liquidity, Reason, Tail, override
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import Account, gate, measure
from quantd.trading.instruments import NANO
from tests.support.plan_orders import Part, priced_orders
from tests.support.risk_books import make_context, scenario_returns

NAMES = ["A", "B", "C"]
PX = np.array([100.0, 50.0, 200.0])
RETURNS = scenario_returns(np.random.default_rng(5), 3)
EQUITY = 100_000.0


def account(lots: list[float], px: Any = PX, **given: Any) -> Account:
    held = np.array(lots)
    return Account(**{"lots": held, "cash": EQUITY - float(held @ px), "equity": EQUITY, **given})


def market(px: Any = PX, **given: Any) -> Any:
    return make_context(np.array(px), RETURNS, NAMES, **given)


@pytest.mark.parametrize("held", [1.0, 5.0])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_what_an_open_order_may_close_is_not_closed_twice(held: float, side: float) -> None:
    open_lots = np.array([held, 0.0, 0.0])
    book = account([side * held, 0.0, 0.0], **{"down" if side > 0 else "up": open_lots})
    if side < 0:
        book.up_cash = held * 105.0
    for other in (0.0, 3.0):
        verdict = gate(market(), book, np.array([-side, other, 0.0]), Limits(allow_short=True))
        assert verdict.lots.tolist() == [0, other, 0]
        assert verdict.reason.tolist() == [Reason.ZERO_CROSSING, 0, 0]


@pytest.mark.parametrize("side", ["up", "down"])
def test_an_open_order_without_a_price_makes_the_book_unknown_and_none_elsewhere_does(side: str) -> None:
    ctx = market([100.0, float("nan"), 200.0], prices_nano=np.array([100, 0, 200]) * NANO)
    asked = np.array([5.0, 0.0, 0.0])
    for row, passes in (([0.0, 3.0, 0.0], 0.0), ([0.0, 0.0, 3.0], 5.0)):
        book = account([0.0, 0.0, 0.0], PX, **{side: np.array(row)}, up_cash=630.0 if side == "up" else 0.0)
        verdict = gate(ctx, book, asked, Limits())
        assert verdict.lots.tolist() == [passes, 0, 0]
        assert verdict.reason.tolist() == [0 if passes else Reason.NOT_FINITE, 0, 0]


@pytest.mark.parametrize("held", [500.0, -500.0])
def test_what_may_be_owed_is_a_share_of_the_equity_that_the_worst_reduction_leaves(held: float) -> None:
    """50,000 held, long or short, closed 15 % from the mark: 92,500 in cash and as much equity, ten times which may be
    owed. Each currency bought takes 1.05 of it and ten times 0.05; what is sold short pays at the end."""
    limits = Limits(collar=0.05, reduce_collar=0.15, fee_bp=0.0, max_cash_debit=10.0, cash_reserve=0.0)
    verdict = gate(market(), account([held, 0.0, 0.0]), np.array([-held, 15_000.0, -3_750.0]), limits)
    factor = 11 * 92_500 / (1.55 * 750_000)
    assert verdict.lots.tolist() == [-held, np.floor(15_000 * factor), -np.floor(3_750 * factor)]
    assert verdict.reason.tolist() == [0, Reason.CASH, Reason.CASH]


def test_one_lot_is_weighed_again_at_the_equity_that_the_others_leave() -> None:
    px = np.array([20_000.0, 50.0, 200.0])
    limits = Limits(collar=0.05, fee_bp=0.0, max_position_weight=0.203)
    alone = gate(market(px), account([0.0, 0.0, 0.0], px), np.array([1.0, 0.0, 0.0]), limits)
    assert alone.lots.tolist() == [1, 0, 0]
    both = gate(market(px), account([0.0, 0.0, 0.0], px), np.array([1.0, 200.0, 0.0]), limits)
    assert both.lots.tolist() == [0, 200, 0]
    assert both.reason.tolist() == [Reason.POSITION_WEIGHT, 0, 0]
    wider = gate(market(px), account([0.0, 0.0, 0.0], px), np.array([1.0, 200.0, 0.0]), override(limits, collar=0.0))
    assert wider.lots.tolist() == [1, 200, 0]


def test_one_lot_is_weighed_again_at_the_end_too_where_fees_of_others_count_and_no_room_on_the_way_does() -> None:
    """A hundred basis points of 20,000 are 200, a fifth of which is 40."""
    px = np.array([19_950.0, 50.0, 200.0])
    limits = Limits(collar=0.0, reduce_collar=0.0, fee_bp=100.0, max_position_weight=0.2, in_flight=0.5)
    for other_lots, passes in ((0.0, 1.0), (380.0, 0.0)):
        verdict = gate(market(px), account([0.0, 0.0, 0.0], px), np.array([1.0, other_lots, 0.0]), limits)
        assert verdict.lots.tolist() == [passes, other_lots, 0]


def test_a_fresh_price_keeps_its_collar_beside_an_old_one() -> None:
    limits = Limits(collar=0.05, reduce_collar=0.2, flatten_collar=0.1)
    lots, held = np.array([-1.0, -1.0, 0.0]), np.array([5.0, 5.0, 0.0])
    ctx = market(age_ns=np.array([0, limits.max_price_age_ns + 1, 0]))
    assert worst_nano(ctx, lots, limits, held) == [80 * NANO, 45 * NANO, 0]


def test_an_order_has_the_collar_of_what_adds_where_nothing_is_known_to_be_held() -> None:
    limits, lots = Limits(collar=0.05, reduce_collar=0.2), np.array([1.0, -1.0, 0.0])
    assert worst_nano(market(), lots, limits) == [105 * NANO, 47 * NANO + NANO // 2, 0]
    assert worst_nano(market(), lots, limits, np.array([-3.0, 3.0, 0.0])) == [120 * NANO, 40 * NANO, 0]


def test_an_order_goes_out_at_the_price_that_every_agent_behind_it_counted_on() -> None:
    """The house closes with 20 %; an agent that holds nothing sells short with 5 %, and one has narrower collars."""
    limits = Limits(collar=0.05, reduce_collar=0.2, flatten_collar=0.1, max_cash_debit=1.0, fee_bp=0.0)
    narrow = override(limits, reduce_collar=0.01)
    book, lots = account([10.0, -10.0, 0.0]), np.array([-5.0, 5.0, 0.0])
    verdict = gate(market(), book, lots, limits)
    assert verdict.lots.tolist() == lots.tolist()
    holds, nothing = np.array([3.0, -3.0, 0.0]), np.zeros(3)
    one, other = np.array([-5.0, 0.0, 0.0]), np.array([0.0, 5.0, 0.0])

    def sent(*parts: Part) -> list[int]:
        orders = priced_orders(verdict, market(), book, limits, parts)
        assert orders is not None
        return [price // NANO for price in orders.worst_nano]

    assert sent(Part(lots, holds, limits)) == [80, 60]
    assert sent(Part(one, nothing, limits), Part(other, holds, limits)) == [95, 60]
    assert sent(Part(one, holds, limits), Part(other, nothing, limits)) == [80, 52]
    assert sent(Part(one, holds, limits), Part(other, holds, narrow)) == [80, 50]
    assert sent(Part(one, holds, narrow), Part(other, nothing, limits)) == [99, 52]


def test_an_agent_for_which_a_price_is_old_narrows_the_order() -> None:
    limits = Limits(collar=0.05, reduce_collar=0.2, flatten_collar=0.1, max_cash_debit=1.0, fee_bp=0.0)
    book, lots = account([10.0, 0.0, 0.0]), np.array([-5.0, 0.0, 0.0])
    aged = market(age_ns=np.array([100, 0, 0]))
    verdict = gate(aged, book, lots, limits)
    for agent_limits, price in ((limits, 80), (override(limits, max_price_age_ns=99), 90)):
        parts = [Part(lots, book.lots, agent_limits)]
        orders = priced_orders(verdict, aged, book, limits, parts)
        assert orders is not None
        assert [worst // NANO for worst in orders.worst_nano] == [price]


def test_a_factor_that_leaves_whole_lots_exactly_leaves_all_of_them() -> None:
    limits = Limits(collar=0.0, reduce_collar=0.0, flatten_collar=0.0, max_cash_debit=10.0)
    for key, bound in (("max_gross_exposure", 0.75), ("max_net_exposure", 0.75), ("max_turnover", 0.75)):
        asked = np.array([1_000.0, 1_000.0, 0.0])
        verdict = gate(market(), account([0.0, 0.0, 0.0]), asked, override(limits, **{key: bound}))
        assert verdict.lots.tolist() == [500, 500, 0], key


@pytest.mark.parametrize("key", ["var", "cvar", "max_volatility"])
def test_a_measure_at_exactly_half_of_what_is_asked_leaves_half_of_the_lots(key: str) -> None:
    free = Limits(collar=0.0, reduce_collar=0.0, flatten_collar=0.0, max_cash_debit=10.0, volatility_lookback=80)
    asked = np.array([1_000.0, 0.0, 0.0])

    def limit(most: float) -> Limits:
        return override(free, **{key: most if key == "max_volatility" else Tail(limit=most, lookback=80)})

    value = gate(market(), account([0.0, 0.0, 0.0]), asked, limit(9.0)).values[key][0]
    assert gate(market(), account([0.0, 0.0, 0.0]), asked, limit(value / 2)).lots.tolist() == [500, 0, 0]


def test_a_family_far_from_its_bound_does_not_hide_the_next_one() -> None:
    groups = (("late", ("B", "C")),)
    ctx = make_context(PX, RETURNS, NAMES, ["x", "x", "y"], None, groups)
    limits = Limits(collar=0.0, reduce_collar=0.0, max_sector_weight=0.9, group_caps=(("late", 0.05),))
    for asked in ([0.0, 200.0, 0.0], [0.0, -200.0, 0.0]):
        verdict = gate(ctx, account([0.0, 0.0, 0.0]), np.array(asked), limits)
        assert verdict.lots.tolist() == [x / 2 for x in asked]
        assert verdict.reason.tolist() == [0, Reason.GROUP, 0]


def test_a_family_that_open_orders_bring_to_its_bound_does_not_stop_others() -> None:
    """A sector of 20 % of 100,000, when open orders may lose 5,000 of it; nothing that is asked makes it more."""
    ctx = make_context(PX, RETURNS, NAMES, ["x", "x", "y"])
    limits = Limits(collar=0.0, reduce_collar=0.0, fee_bp=0.0, max_sector_weight=0.2)
    book = account([200.0, 0.0, 0.0], open_loss=5_000.0)
    verdict = gate(ctx, book, np.array([0.0, 0.0, 10.0]), limits)
    assert verdict.lots.tolist() == [0, 0, 10]


def test_a_position_at_its_weight_stays_within_it_when_fees_are_paid_for_others() -> None:
    limits = Limits(collar=0.05, fee_bp=10.0, max_position_weight=0.2, in_flight=1.0)
    for held, passes in ((200.0, 0.0), (199.0, 20.0)):
        verdict = gate(market(), account([held, 0.0, 0.0]), np.array([0.0, 0.0, 20.0]), limits)
        assert verdict.lots.tolist() == [0, 0, passes]


def test_fees_of_open_orders_beyond_the_equity_leave_nothing_to_add_not_even_one_lot() -> None:
    up = np.array([0.0, 2_000.0, 0.0])
    book = account([0.0, 0.0, 0.0], cash=1e6, equity=50.0, up=up, up_cash=100_000.0, open_loss=0.0)
    limits = Limits(collar=0.05, fee_bp=10.0, in_flight=0.5)
    verdict = gate(market(), book, np.array([1.0, 0.0, 0.0]), limits)
    assert verdict.lots.tolist() == [0, 0, 0]
    assert verdict.reason.tolist() == [Reason.EQUITY, 0, 0]


def linked_market(n: int = 3) -> Any:
    """The first two move as one, the others on their own."""
    returns = scenario_returns(np.random.default_rng(8), n)
    returns[:, 1] = returns[:, 0]
    return make_context(np.full(n, 50.0), returns, [f"S{k:02}" for k in range(n)])


@pytest.mark.parametrize("n", [3, 70])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_pair_may_weigh_exactly_its_joint_weight_and_not_a_lot_more(n: int, side: float) -> None:
    """Both sides, with a covariance at hand and with too many symbols for one."""
    pair = Correlation(threshold=0.9, joint_weight=0.2, min_weight=0.05, lookback=80)
    limits = Limits(collar=0.0, reduce_collar=0.0, flatten_collar=0.0, fee_bp=0.0, max_cash_debit=1.0, correlation=pair)
    asked = np.zeros(n)
    asked[:3] = side * 240.0, side * 200.0, side * 100.0
    verdict = gate(linked_market(n), account([0.0] * n, np.full(n, 50.0)), asked, limits)
    assert verdict.lots[:3].tolist() == [side * 240, side * 160, side * 100]
    assert verdict.reason[:3].tolist() == [0, Reason.CORRELATION, 0]
    # alone within the least weight, whatever the other weighs
    asked[:2] = side * 1_000.0, side * 300.0
    verdict = gate(linked_market(n), account([0.0] * n, np.full(n, 50.0)), asked, limits)
    assert verdict.lots[:2].tolist() == [side * 1_000, side * 100]


def test_a_pair_is_weighed_again_at_the_equity_that_a_third_order_leaves() -> None:
    """240 and 156 lots of 50 are a fifth of what their own purchase leaves of 100,000; a hundred of another take 250
    more."""
    pair = Correlation(threshold=0.9, joint_weight=0.2, min_weight=0.05, lookback=80)
    limits = Limits(collar=0.05, reduce_collar=0.05, fee_bp=0.0, correlation=pair)
    for third, second in ((0.0, 156.0), (100.0, 155.0)):
        verdict = gate(linked_market(), account([0.0] * 3, np.full(3, 50.0)), np.array([240.0, 200.0, third]), limits)
        assert verdict.lots.tolist() == [240, second, third]
        assert verdict.reason.tolist() == [0, Reason.CORRELATION, 0]


@pytest.mark.parametrize("n", [3, 70])
def test_a_partner_that_is_too_small_to_matter_stays_so_at_the_equity_that_an_order_leaves(n: int) -> None:
    """99 lots of 50 are a twentieth of 99,000: 200 lots that may lose 5 each leave that, one more does not."""
    pair = Correlation(threshold=0.9, joint_weight=0.12, min_weight=0.05, lookback=80)
    limits = Limits(collar=0.1, reduce_collar=0.1, fee_bp=0.0, correlation=pair)
    held, asked = np.zeros(n), np.zeros(n)
    held[1], asked[0] = 99.0, 600.0
    verdict = gate(linked_market(n), account(held.tolist(), np.full(n, 50.0)), asked, limits)
    assert verdict.lots[:2].tolist() == [200, 0]
    assert verdict.reason[:2].tolist() == [Reason.CORRELATION, 0]


def test_volumes_count_to_the_lot() -> None:
    """C is so thin that nothing is small beside every volume."""
    ctx = market(volume_lots=np.array([1_000.0, 1_000.0, 10.0]))
    share, slow = Limits(max_share_of_volume=0.1), Limits(liquidity=Liquidity(2.0, 0.1))
    empty, some = account([0.0, 0.0, 0.0]), account([150.0, 300.0, 0.0])
    opened = account([0.0, 0.0, 0.0], up=np.array([40.0, 0.0, 0.0]), up_cash=4_200.0)
    closing = account([150.0, 300.0, 0.0], down=np.array([40.0, 0.0, 0.0]))
    cases = (
        (share, empty, 100.0),
        (share, opened, 60.0),
        (slow, some, 50.0),
        (slow, opened, 160.0),
        (slow, closing, 50.0),
    )
    for limits, book, most in cases:
        assert gate(ctx, book, np.array([most, 0.0, 0.0]), limits).lots.tolist() == [most, 0, 0]
        assert gate(ctx, book, np.array([most + 1.0, 0.0, 0.0]), limits).lots.tolist() == [most, 0, 0]
    assert gate(ctx, some, np.array([50.0, 1.0, 0.0]), slow).lots.tolist() == [50, 0, 0]


def test_a_limit_that_open_orders_alone_break_lets_nothing_pass_and_turns_nothing_round() -> None:
    """20,000 held of at most 20 % of 100,000, of which open orders may lose 5,000."""
    limits = Limits(collar=0.0, reduce_collar=0.0, fee_bp=0.0, max_gross_exposure=0.2)
    book, asked = account([200.0, 0.0, 0.0], open_loss=5_000.0), [0.0, 100.0, 0.0]
    verdict = gate(market(), book, np.array(asked), limits)
    assert verdict.lots.tolist() == [0, 0, 0]
    assert verdict.reason.tolist() == [0, Reason.GROSS, 0]


def test_each_confidence_has_a_tail_of_its_own() -> None:
    asked, book = [300.0, 0.0, 0.0], account([0.0, 0.0, 0.0])

    def limits(var: float, cvar: float) -> Limits:
        return Limits(
            var=Tail(limit=var, confidence=0.9, lookback=80), cvar=Tail(limit=cvar, confidence=0.99, lookback=80)
        )

    values = gate(market(), book, np.array(asked), limits(0.9, 0.9)).values
    var, cvar = values["var"][0], values["cvar"][0]
    # a little more than equity falls by when it is bought at its worst price
    for factors, code in (((1.03, 1.03), 0), ((1.03, 0.99), Reason.CVAR), ((0.99, 1.03), Reason.VAR)):
        verdict = gate(market(), book, np.array(asked), limits(var * factors[0], cvar * factors[1]))
        assert verdict.reason.tolist() == [code, 0, 0]


def test_what_is_open_and_what_is_closed_counts_to_the_lot() -> None:
    sale, buy = np.array([40.0, 0.0, 0.0]), np.array([90.0, 0.0, 0.0])
    free = Limits(collar=0.05, reduce_collar=0.05, fee_bp=0.0)
    long, short, none = [100.0, 0.0, 0.0], [-100.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    closed = override(free, collar=0.0, reduce_collar=0.0, flatten_collar=0.0)
    bought: dict[str, Any] = {"up": buy, "up_cash": 9_000.0}
    for limits, book, asked, k in (
        (override(closed, max_turnover=0.1), account(long, down=sale), [0.0, 120.0, 0.0], 1),
        (override(closed, max_position_weight=0.15), account(none, **bought), [60.0, 0.0, 0.0], 0),
        (override(closed, max_share_of_volume=0.1), account(none, **bought), [10.0, 0.0, 0.0], 0),
        (override(closed, max_sector_weight=0.2), account(none), [200.0, 0.0, 0.0], 0),
        (override(free, allow_short=True), account(short), [100.0, 1_895.0, 0.0], 1),
    ):
        ctx = make_context(PX, RETURNS, NAMES, ["x", "y", "y"], volume_lots=np.full(3, 1_000.0))
        assert gate(ctx, book, np.array(asked), limits).lots.tolist() == asked, limits
        more = list(asked)
        more[k] += 1.0
        assert gate(ctx, book, np.array(more), limits).lots.tolist() == asked, limits


def test_no_order_takes_a_position_one_lot_beyond_zero_whatever_is_open_elsewhere() -> None:
    for side in (1.0, -1.0):
        for name in ("up", "down"):
            opened: dict[str, Any] = {name: np.array([0.0, 0.0, 2.0])}
            book = account([side * 5.0, 0.0, 0.0], **opened, up_cash=420.0 * (name == "up"))
            verdict = gate(market(), book, np.array([-side * 6.0, 3.0, 0.0]), Limits())
            assert verdict.lots.tolist() == [-side * 5.0, 3, 0]
            assert verdict.reason.tolist() == [Reason.ZERO_CROSSING, 0, 0]


def test_a_fraction_of_a_lot_cannot_be_sold() -> None:
    for side in (1.0, -1.0):
        verdict = gate(market(), account([side * 2.5, 0.0, 0.0]), np.array([-side * 3.0, 1.0, 0.0]), Limits())
        assert verdict.lots.tolist() == [-side * 2.0, 1.0, 0.0]


def test_buys_that_counted_on_a_short_sale_give_way_when_it_is_rounded_to_nothing() -> None:
    """1,000 in cash. 1,500 bought beside 600 sold short would do, but of 2,100 only 2,000 may be held, and no part of
    the one lot sold."""
    px = np.array([600.0, 100.0, 200.0])
    limits = Limits(collar=0.0, reduce_collar=0.0, fee_bp=0.0, max_cash_debit=1.0, max_gross_exposure=2.0)
    book = Account(lots=np.zeros(3), cash=1_000.0, equity=1_000.0)
    for fee, bought in ((0.0, 10.0), (100.0, 9.0)):
        verdict = gate(market(px), book, np.array([-1.0, 15.0, 0.0]), override(limits, fee_bp=fee))
        assert verdict.lots.tolist() == [0, bought, 0]
        assert verdict.reason.tolist() == [Reason.GROSS, Reason.CASH, 0]
    both = gate(market(px), book, np.array([-1.0, 14.0, 0.0]), limits)
    assert both.lots.tolist() == [-1, 14, 0]
    # cash that fits exactly fits, however much more is held
    rich = Account(lots=np.array([0.0, 0.0, 5_000.0]), cash=1_000.0, equity=1_001_000.0)
    wide = override(limits, max_gross_exposure=1_002_000.0 / 1_001_000.0)
    assert gate(market(px), rich, np.array([-1.0, 15.0, 0.0]), wide).lots.tolist() == [0, 10, 0]
    # without cash nothing is bought, however little a lot costs
    px[1] = 0.5
    book = Account(lots=np.array([0.0, 0.0, 5.0]), cash=0.0, equity=1_000.0)
    verdict = gate(market(px), book, np.array([-1.0, 1_200.0, 0.0]), override(limits, max_gross_exposure=2.1))
    assert verdict.lots.tolist() == [0, 0, 0]


# ---- what is measured of verdicts
# --------------------------------------------------------------------------------------------


def test_a_verdict_records_the_limits_that_cut_and_those_in_use() -> None:
    limits, ctx = Limits(max_gross_exposure=0.1, max_position_weight=0.5, max_net_exposure=3.0), market()
    small = gate(ctx, account([5.0, 0.0, 0.0]), np.array([5.0, 0.0, 5.0]), limits)
    assert (small.recorded, small.reason.any()) == ({}, False)
    cut = gate(ctx, account([5.0, 0.0, 0.0]), np.array([500.0, 0.0, 5.0]), limits)
    measure([small, cut], [cut])
    assert cut.recorded == {"max_gross_exposure": cut.values["max_gross_exposure"]}
    assert cut.recorded is cut.recorded
    assert set(cut.values) == {"cash", "max_gross_exposure", "max_position_weight", "max_net_exposure"}

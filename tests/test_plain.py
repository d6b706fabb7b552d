"""The short way through the gate passes what the long way passes, limit for limit and lot for lot."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import quantd.risk.plain
from quantd.risk.limits.case import SLACK, Case
from quantd.risk.limits.catalogue import Correlation, Limits, Liquidity, Rate, Reason, Tail, override
from quantd.risk.limits.context import Scenarios
from quantd.risk.limits.kinds import Family
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.values import standing
from quantd.risk.measures.portfolio import FEW
from quantd.risk.plain import Basket, plain, ready
from quantd.risk.pretrade import gate as gate_module
from quantd.risk.pretrade.gate import Account, Context, _extents, gate
from quantd.trading.instruments import NANO
from tests.support.risk_books import Book, make_context, random_book


def long_book(seed: int) -> Book:
    """A book without shorts and open orders, of all kinds of limits, half invested in equal parts or not."""
    rng = np.random.default_rng((seed, 77))
    book = random_book(rng, 0)
    n = len(book.px)
    held = np.floor(rng.random(n) * (rng.random(n) < 0.7) * 60_000.0 / n / book.px)
    equity = 100_000.0
    up = down = None
    up_cash, loss = 0.0, None
    if seed % 2:
        up = np.floor(rng.random(n) * (rng.random(n) < 0.4) * 10_000.0 / n / book.px)
        down = np.floor(held * rng.random(n) * (rng.random(n) < 0.4))
        up_cash = float(up @ book.px) * 1.1
        loss = float(rng.choice([0.0, 500.0])) + up_cash - float(up @ book.px) if rng.random() < 0.5 else None
    book.account = Account(
        up=up,
        down=down,
        up_cash=up_cash,
        open_loss=loss,
        lots=held,
        cash=equity - float(held @ book.px),
        equity=equity,
        traded=float(rng.choice([0.0, 10_000.0])),
        recent_orders=int(rng.integers(0, 3)),
        open_orders=int(rng.integers(0, 3)),
    )
    change = np.trunc(rng.normal(0.3, 1.0, n) * float(rng.choice([0.02, 0.1, 0.4])) * equity / n / book.px)
    book.asked = np.maximum(change, -held if down is None else down - held)
    loose = float(rng.choice([1.0, 2.0, 4.0]))
    changes: dict[str, Any] = {"in_flight": 0.0, "max_cash_debit": 0.0, "restricted": ()}
    if seed % 4:
        changes |= {"liquidity": None, "order_rate": None, "max_open_orders": None}
    for key in (
        "max_position_weight",
        "max_leverage",
        "max_concentration",
        "max_gross_exposure",
        "max_net_exposure",
        "max_sector_weight",
        "max_volatility",
    ):
        value = getattr(book.limits, key)
        changes[key] = None if value is None else value * loose
    if seed % 5 == 0:
        changes["max_leverage"] = float(rng.uniform(0.4, 0.9))
    for key in ("var", "cvar"):
        tail = getattr(book.limits, key)
        changes[key] = None if tail is None else type(tail)(tail.limit * loose, confidence=tail.confidence, lookback=80)
    if seed % 3 == 0:
        changes["max_share_of_volume"] = 0.5
        book.ctx.volume_lots[:] = rng.choice(
            [2.0 * np.abs(book.asked).max() + 1.0, 50.0, np.nan], n, p=[0.8, 0.15, 0.05]
        )
    book.limits = override(book.limits, **changes)
    return book


ALONE = (
    ("max_gross_exposure", 0.2, 1.0), ("max_net_exposure", 0.05, 0.5),
    ("max_leverage", 1.02, 1.3), ("max_turnover", 0.05, 0.5), ("cash_reserve", 0.8, 1.0), ("", 0.0, 0.0),
)  # fmt: skip


def any_book(seed: int) -> Book:
    """Two in three are long only, the others hold and ask for shorts too."""
    if seed % 3:
        return long_book(seed)
    rng = np.random.default_rng((seed, 78))
    book = random_book(rng, int(rng.choice([0, 4])))
    loose = float(rng.choice([1.0, 3.0]))
    changes: dict[str, Any] = {"in_flight": 0.0, "max_cash_debit": 0.0, "allow_short": seed % 2 == 0}
    for key in ("max_position_weight", "max_gross_exposure", "max_leverage", "max_volatility", "max_net_exposure"):
        value = getattr(book.limits, key)
        changes[key] = None if value is None else value * loose
    # one linear limit at a time, or what there is
    which, low, high = ALONE[seed // 3 % len(ALONE)]
    if which:
        changes |= dict.fromkeys(("max_gross_exposure", "max_net_exposure", "max_leverage", "max_turnover"))
        changes |= dict.fromkeys(("var", "cvar", "stress", "max_volatility", "max_herfindahl", "max_position_weight"))
        changes |= dict.fromkeys(("max_concentration", "max_sector_weight", "correlation"), None) | {"group_caps": ()}
        changes |= dict.fromkeys(("liquidity", "max_share_of_volume", "max_order_notional"))
        changes[which] = float(rng.uniform(low, high))
    book.limits = override(book.limits, **changes)
    asked, held = np.trunc(book.asked * float(rng.choice([0.05, 0.2, 0.5]))), book.account.lots
    within = np.sign(asked) * np.minimum(np.abs(asked), np.abs(held) // 3)
    book.asked = np.where((asked * held < 0) & (rng.random(len(held)) < 0.9), within, asked)
    return book


def differences(first: int, count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[int, int], list[int]]:
    """(passed whole by the short way, reason -> cut by it, seeds at which the long way says something else)."""
    whole, cut, wrong = 0, dict.fromkeys(range(max(Reason) + 1), 0), []
    for seed in range(first, first + count):
        book = any_book(seed)
        rules = rules_of(book.limits, book.ctx.universe)
        codes = np.zeros(len(book.px), np.int8)
        short = plain(book.ctx, book.account, book.asked, rules, codes)
        if short is None:
            continue
        whole += not codes.any()
        cut[int(codes.max())] += 1
        with monkeypatch.context() as patch:
            patch.setattr(gate_module, "plain", lambda *_: None)
            long = gate(book.ctx, book.account, book.asked, book.limits)
        if not (np.array_equal(short, long.lots) and np.array_equal(codes, long.reason)):
            wrong.append(seed)
    return whole, cut, wrong


def test_the_short_way_passes_what_the_long_way_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut, wrong = differences(0, 3000, monkeypatch)
    assert wrong == []
    assert whole > 250
    for code in (Reason.GROSS, Reason.CASH, Reason.TURNOVER, Reason.NET):
        assert cut[code] > 0, code.name


# ---- what the short way makes of a basket ---------------------------------------------------------------


def test_a_basket_is_what_the_long_way_makes_of_it() -> None:
    """Exposures, equity, cash and turnover at their worst, number for number; of shorts and of books without."""
    seen = {True: 0, False: 0}
    for seed in range(200):
        book = any_book(seed)
        ctx, account, n = book.ctx, book.account, len(book.px)
        account.open_gain = float(seed % 3)
        rules, wanted = rules_of(book.limits, ctx.universe), np.trunc(book.asked)
        after = account.lots + np.minimum(wanted, 0.0) - (0.0 if account.down is None else account.down)
        sided = bool((account.lots < 0.0).any() or (after < 0.0).any())
        if quantd.risk.plain._crosses(account, wanted):
            continue
        reducing = np.where(wanted * account.lots < 0.0, wanted, 0.0)
        way = _extents(ctx, account, reducing, rules)[0]
        lots = np.abs(wanted - reducing)
        case = Case(ctx, account, rules, wanted > 0.0, [way])
        full, heaviest, slip = way.reach(case, lots)
        added = case.sides(lots)
        basket = Basket(ctx, account, rules, wanted, sided)

        def alike(one: Any, other: Any, seed: int = seed) -> None:
            assert one == pytest.approx(other, rel=1e-9, abs=1e-6), seed

        alike(basket.long, full[n:])
        alike(np.zeros(n) if basket.short is None else basket.short, full[:n])
        alike(basket.size, full[:n] + full[n:])
        alike(basket.heaviest, heaviest)
        alike(basket.high, way.w[n:] + added[n:])
        alike(basket.moved, way.w[:n] + way.w[n:] + added.sum() * 0.0 + added[:n] + added[n:])
        alike(basket.adding, added[:n] + added[n:])
        alike((basket.buys, basket.adds), (added[n:].sum(), added.sum()))
        alike(basket.used, 0.0 if sided else way.y[n:].sum())
        alike((basket.before, basket.equity, basket.low), (way.before, way.equity, way.equity - slip))
        alike((basket.traded, basket.cash_used), (way.traded, way.cash_used))
        assert basket.near == case.tolerance
        assert (basket.short is not None) is sided
        seen[sided] += 1
    assert min(seen.values()) > 30


def test_an_order_crosses_zero_when_it_could_with_what_is_open_on_its_side() -> None:
    up, down = np.array([3.0, 0.0]), np.array([4.0, 0.0])
    for held, asked, crosses in (
        (9.0, -5.0, False), (9.0, -6.0, True), (-9.0, 6.0, False), (-9.0, 7.0, True), (1.0, 5.0, False),
        (0.0, -5.0, False), (3.0, 1.0, False), (1.0, 0.0, False), (-1.0, -1.0, False), (1.0, -1.0, True),
        (-1.0, 1.0, True),
    ):  # fmt: skip
        book = Account(lots=np.array([held, 0.0]), cash=0.0, equity=1e5, up=up, down=down)
        assert quantd.risk.plain._crosses(book, np.array([asked, 0.0])) is crosses, (held, asked)
    lone = Account(lots=np.array([1.0, -1.0]), cash=0.0, equity=1e5)
    assert not quantd.risk.plain._crosses(lone, np.array([-1.0, 1.0]))
    assert quantd.risk.plain._crosses(lone, np.array([-2.0, 0.0]))


def test_what_limits_need_of_a_context_is_made_once() -> None:
    book = long_book(1)
    for limits in (Limits(), Limits(var=Tail(limit=0.5, lookback=80)), Limits(max_price_age_ns=0)):
        rules = rules_of(limits, book.ctx.universe)
        ready(book.ctx, rules)
        entry = book.ctx.ready[id(rules)]
        assert entry[0] is rules
        assert ready(book.ctx, rules) is entry[1]
        assert book.ctx.ready[id(rules)] is entry


# ---- edges of the short way ---------------------------------------------------------------------------------

EQUITY = 65_536.0
"""A power of two: fractions of it are exact."""
NEAR = SLACK * EQUITY
FREE = Limits(collar=0.0, reduce_collar=0.0, flatten_collar=0.0, fee_bp=0.0)


class Small:
    """A book of three symbols at a price of 1, and what is asked of it."""

    def __init__(self, lots: Any, asked: Any, px: Any = (1.0, 1.0, 1.0), **given: Any) -> None:
        self.px = np.array(px, dtype=float)
        self.returns = np.random.default_rng(3).normal(0.0, 0.01, (80, 3))
        market = {key: given.pop(key) for key in ("age_ns", "volume_lots", "prices_nano") if key in given}
        self.ctx = make_context(
            self.px, given.pop("returns", self.returns), ["A", "B", "C"], given.pop("sectors", None), **market
        )
        held = np.array(lots, dtype=float)
        self.account = Account(**{"lots": held, "cash": EQUITY - float(held @ self.px), "equity": EQUITY, **given})
        self.asked = np.array(asked, dtype=float)
        self.reason = np.zeros(3, np.int8)

    def said(self, limits: Limits) -> list[float] | None:
        self.reason[:] = 0
        found = plain(self.ctx, self.account, self.asked, rules_of(limits, self.ctx.universe), self.reason)
        return None if found is None else found.tolist()

    def basket(self, limits: Limits, sided: bool) -> Basket:
        return Basket(self.ctx, self.account, rules_of(limits, self.ctx.universe), self.asked, sided)


def beyond(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def test_a_price_as_old_as_it_may_be_is_the_short_ways_business() -> None:
    most = Limits().max_price_age_ns
    for age, decided in ((0, True), (1, True), (most, True), (most + 1, False), (-1, False)):
        small = Small([0.0] * 3, [1.0, 0.0, 0.0], age_ns=np.array([0, age, 0]))
        assert (small.said(FREE) is not None) is decided


def test_a_book_of_less_than_a_unit_of_currency_is_a_book() -> None:
    small = Small([0.0] * 3, [1.0, 2.0, 0.0], [0.01] * 3, cash=0.5, equity=0.5)
    assert small.said(FREE) == [1.0, 2.0, 0.0]
    assert small.said(override(FREE, collar=0.05)) == [1.0, 2.0, 0.0]


def test_a_book_without_equity_is_not_the_short_ways_and_one_that_is_left_none_at_worst_is() -> None:
    assert Small([-100.0, 0.0, 0.0], [0.0, 1.0, 0.0], cash=100.0, equity=0.0).said(FREE) is None
    small = Small([0.0, -1.0, 0.0], [1.0, 0.0, 0.0], cash=1.5, equity=0.5)
    assert small.said(override(FREE, collar=0.5)) == [1.0, 0.0, 0.0]
    assert small.said(override(FREE, collar=0.6)) is None


def test_a_purchase_beside_an_open_sale_of_what_is_not_held_is_not_a_book_without_shorts() -> None:
    small = Small([0.0] * 3, [1.0, 0.0, 0.0], down=np.array([1.0, 0.0, 0.0]))
    assert small.said(override(FREE, allow_short=False)) is None
    assert small.said(FREE) == [1.0, 0.0, 0.0]


def test_one_linear_limit_at_exactly_its_bound_passes_and_cuts_from_a_bit_beyond() -> None:
    bound = 0.75 * EQUITY + NEAR
    limits = override(FREE, max_turnover=0.75)
    for traded, said in ((bound - 64.0, 64.0), (beyond(bound - 64.0), 63.0), (bound, 0.0)):
        small = Small([0.0] * 3, [64.0, 0.0, 0.0], traded=traded)
        assert small.said(limits) == [said, 0.0, 0.0]
        assert small.reason.tolist() == [0 if said == 64.0 else Reason.TURNOVER, 0, 0]
    # breached already it is the long way's
    assert Small([0.0] * 3, [64.0, 0.0, 0.0], traded=beyond(bound)).said(limits) is None
    # with shorts it is whole or the long way's
    for traded, said in ((bound - 64.0, [64.0, -0.0, 0.0]), (beyond(bound - 64.0), None)):
        small = Small([0.0, -9.0, 0.0], [64.0, 0.0, 0.0], traded=traded)
        assert small.said(override(limits, max_gross_exposure=0.9)) == said


def test_only_what_the_whole_basket_would_not_keep_is_solved_for() -> None:
    bound = 0.75 * EQUITY + NEAR
    limits = override(FREE, max_turnover=0.75, max_gross_exposure=0.75)
    for traded, over in ((0.0, []), (bound - 64.0, []), (beyond(bound - 64.0), [Reason.TURNOVER])):
        small = Small([0.0] * 3, [64.0, 0.0, 0.0], traded=traded)
        rows = quantd.risk.plain._rows_over(rules_of(limits, small.ctx.universe), small.basket(limits, False))
        assert [row[1] for row in rows] == over


def test_a_tail_of_four_days_is_twice_that_of_one() -> None:
    for key in ("var", "cvar"):
        small = Small([0.0] * 3, [32_768.0, 0.0, 0.0])
        day = override(FREE, **{key: Tail(limit=9.0, lookback=80)})
        value = gate(small.ctx, small.account, small.asked, day).values[key][0]
        for factor, decided in ((1.99, False), (2.01, True)):
            four = override(FREE, **{key: Tail(limit=factor * value, horizon=4, lookback=80)})
            assert (small.said(four) is not None) is decided


def test_of_two_limits_that_cut_alike_the_short_way_names_the_one_that_the_long_way_names() -> None:
    small = Small([0.0] * 3, [60_000.0, -0.0, 0.0])
    limits = override(FREE, max_gross_exposure=0.5, max_net_exposure=0.5)
    assert small.said(limits) == [32_768.0, 0.0, 0.0]
    assert small.reason.tolist() == [Reason.GROSS, 0, 0]
    assert gate(small.ctx, small.account, small.asked, limits).reason.tolist() == [Reason.GROSS, 0, 0]


def test_a_cut_leaves_sales_whole_and_names_only_what_was_cut() -> None:
    small = Small([100.0, 0.0, 0.0], [-50.0, 48_000.0, 1.0])
    assert small.said(override(FREE, max_gross_exposure=0.5)) == [-50.0, 32_667.0, 0.0]
    assert small.reason.tolist() == [0, Reason.GROSS, Reason.GROSS]


def test_a_weight_or_an_order_at_exactly_its_bound_is_the_short_ways_and_a_bit_beyond_is_not() -> None:
    limits = override(FREE, max_position_weight=0.5)
    bound = 0.5 * EQUITY + NEAR
    for px, decided in ((bound, True), (beyond(bound), False)):
        assert (Small([0.0] * 3, [1.0, 0.0, 0.0], [px, 1.0, 1.0]).said(limits) is not None) is decided
    limits = override(FREE, max_order_notional=1_000.0)
    for lots, decided in ((1_000.0, True), (1_001.0, False)):
        assert (Small([5_000.0] * 3, [lots, 0.0, 0.0]).said(limits) is not None) is decided
    limits = override(limits, collar=0.25)
    for lots, decided in ((800.0, True), (801.0, False)):
        assert (Small([5_000.0] * 3, [lots, 0.0, 0.0]).said(limits) is not None) is decided


def counted(monkeypatch: pytest.MonkeyPatch, of: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    usual = getattr(of, name)
    monkeypatch.setattr(of, name, lambda *given: calls.append(given) or usual(*given))
    return calls


def test_a_family_far_from_its_bound_is_not_added_up_and_one_at_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of a sector: at most four times the heaviest side."""
    calls = counted(monkeypatch, Family, "sums")
    limits = override(FREE, max_sector_weight=0.5)
    bound = 0.5 * EQUITY + NEAR
    for lots, px, times, decided in (
        ([8_192.0, 0.0, 0.0], 1.0, 0, True), ([8_193.0, 0.0, 0.0], 1.0, 1, True), ([1.0, 0.0, 0.0], bound, 1, True),
        ([1.0, 0.0, 0.0], beyond(bound), 1, False), ([20_000.0, 20_000.0, 0.0], 1.0, 1, False),
    ):  # fmt: skip
        calls.clear()
        small = Small([0.0] * 3, lots, [px, 1.0, 1.0], sectors=["x", "x", "y"])
        assert (small.said(limits) is not None) is decided
        assert len(calls) == times


def alike_returns() -> np.ndarray:
    returns = np.random.default_rng(3).normal(0.0, 0.01, (80, 3))
    returns[:, 1] = returns[:, 0]
    return returns


def test_pairs_far_from_their_bound_are_not_looked_for_and_one_at_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch, quantd.risk.plain, "_pairs_keep")
    pair = Correlation(threshold=0.9, joint_weight=0.5, min_weight=0.125, lookback=80)
    limits, least, joint = override(FREE, correlation=pair), 0.125 * EQUITY + NEAR, 0.5 * EQUITY + NEAR
    for px, times, decided in (
        ((16_384.0, 16_384.0), 0, True), ((16_385.0, 9_000.0), 1, True), ((joint / 2, joint / 2), 1, True),
        ((beyond(joint / 2), beyond(joint / 2)), 1, False), ((50_000.0, least), 1, True),
        ((50_000.0, beyond(least)), 1, False),
    ):  # fmt: skip
        calls.clear()
        small = Small([0.0] * 3, [1.0, 1.0, 0.0], [*px, 1.0], returns=alike_returns())
        assert (small.said(limits) is not None) is decided, px
        assert len(calls) == times, px
    # without a single pair that moves together nothing more is asked
    assert Small([0.0] * 3, [1.0, 1.0, 0.0], [25_000.0, 25_000.0, 1.0]).said(limits) is not None
    # pairs of a book with shorts are the long way's, but for those that are far from their bound
    for lots, decided in ((100.0, True), (20_000.0, False)):
        small = Small([0.0, 0.0, -9.0], [lots, 1.0, 0.0], returns=alike_returns())
        assert (small.said(limits) is not None) is decided


def test_pairs_of_more_symbols_are_the_long_ways_until_their_covariance_is_made() -> None:
    n = FEW + 1
    pair = Correlation(threshold=0.9, joint_weight=0.5, min_weight=0.125, lookback=80)
    ctx = make_context(np.ones(n), np.random.default_rng(3).normal(0.0, 0.01, (80, n)), [f"S{k:02}" for k in range(n)])
    rules = rules_of(override(FREE, correlation=pair), ctx.universe)
    book, asked = Account(lots=np.zeros(n), cash=EQUITY, equity=EQUITY), np.zeros(n)
    asked[:2] = 20_000.0
    assert plain(ctx, book, asked, rules, np.zeros(n, np.int8)) is None
    sample = ctx.window(80, 60).all.sample
    assert "cov" not in vars(sample)
    assert quantd.risk.plain._pairs_keep(pair, ctx.window(80, 60).all, asked, EQUITY, NEAR) is False
    assert sample.cov.shape == (n, n)
    assert plain(ctx, book, asked, rules, np.zeros(n, np.int8)) is not None


def test_orders_small_beside_every_volume_are_the_short_ways_with_shorts_too() -> None:
    """A tenth of 1,000 lots a day, and two days of it."""
    share, slow = override(FREE, max_share_of_volume=0.125), override(FREE, liquidity=Liquidity(2.0, 0.125))
    volume = np.array([1_024.0, 1_024.0, 512.0])
    for limits, lots, decided in (
        (share, [64.0, 0.0, 0.0], True), (share, [65.0, 0.0, 0.0], False),
        (slow, [128.0, 0.0, 0.0], True), (slow, [129.0, 0.0, 0.0], False),
    ):  # fmt: skip
        small = Small([0.0, 0.0, -9.0], lots, volume_lots=volume)
        assert (small.said(limits) is not None) is decided, (limits, lots)
        # without shorts each is looked at by itself
        assert Small([0.0] * 3, lots, volume_lots=volume).said(limits) == lots
    assert Small([0.0] * 3, [1.0, 0.0, 0.0], volume_lots=np.array([1e9, np.nan, 1e9])).said(share) is None
    # what is not added to may be as slow as it is
    for limits in (share, slow):
        assert Small([9_000.0, 0.0, 0.0], [-200.0, 9.0, 0.0], volume_lots=volume).said(limits) == [-200.0, 9.0, 0.0]
    # a sale is no purchase, however little room open orders leave it
    small = Small([900.0, 0.0, 0.0], [-1.0, 9.0, 0.0], volume_lots=volume, down=np.array([500.0, 0.0, 0.0]))
    assert small.said(share) == [-1.0, 9.0, 0.0]


def test_what_one_factor_cannot_mend_is_denied_limit_by_limit() -> None:
    """By a plain no, of a book without shorts and of one with them."""
    thin = np.array([1e9, 1e9, 4.0])
    tail, pair = (
        Tail(limit=0.0001, lookback=80),
        Correlation(threshold=0.9, joint_weight=0.1, min_weight=0.01, lookback=80),
    )
    for limits in (
        override(FREE, max_open_orders=1), override(FREE, order_rate=Rate(1)), override(FREE, max_position_weight=0.01),
        override(FREE, max_order_notional=10.0), override(FREE, max_sector_weight=0.01),
        override(FREE, correlation=pair),
        override(FREE, var=tail), override(FREE, cvar=tail), override(FREE, max_herfindahl=0.0001),
        override(FREE, max_volatility=0.001, volatility_lookback=80), override(FREE, max_share_of_volume=0.125),
        override(FREE, liquidity=Liquidity(1.0, 0.125)),
    ):  # fmt: skip
        for held in (0.0, -9.0):
            small = Small(
                [0.0, 0.0, held], [5_000.0, 5_000.0, 1.0 if held == 0.0 else -1.0], sectors=["x", "x", "y"],
                returns=alike_returns(), volume_lots=thin,
            )  # fmt: skip
            rules = rules_of(limits, small.ctx.universe)
            market, made = ready(small.ctx, rules), small.basket(limits, held < 0.0)
            assert market is not None
            assert made.sound()
            assert quantd.risk.plain._keeps(small.ctx, small.account, rules, market, made) is False, limits
            assert small.said(limits) is None


def test_a_tail_within_reach_is_not_looked_at_and_two_measures_of_one_look_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = counted(monkeypatch, Scenarios, "losses_of")
    small = Small([0.0] * 3, [8_192.0, 0.0, 0.0])
    reach = float(Scenarios(small.returns).reach(8)[0]) * 8_192.0 / EQUITY
    for limits, times in (
        ({"cvar": reach}, 0), ({"cvar": reach * (1.0 - 1e-12)}, 1), ({"var": reach / 1.1, "cvar": reach / 1.2}, 1),
        ({"var": reach / 1.1, "cvar": reach}, 1),
    ):  # fmt: skip
        calls.clear()
        given = {key: Tail(limit=x, confidence=0.9, lookback=80) for key, x in limits.items()}
        assert small.said(override(FREE, **given)) is not None
        assert len(calls) == times, limits
    calls.clear()
    other = {
        "var": Tail(limit=reach / 1.1, confidence=0.9, lookback=80),
        "cvar": Tail(limit=reach, confidence=0.95, lookback=80)
    }  # fmt: skip
    assert small.said(override(FREE, **other)) is not None
    assert len(calls) == 2


@pytest.mark.parametrize("key", ["var", "cvar"])
def test_a_tail_at_exactly_its_bound_is_the_short_ways_and_a_bit_beyond_is_not(key: str) -> None:
    exact = 0
    for lots in range(8_000, 8_200):
        small = Small([0.0] * 3, [float(lots), 0.0, 0.0])
        free = override(FREE, **{key: Tail(limit=0.5, confidence=0.9, lookback=80)})
        (limit,) = rules_of(free, small.ctx.universe).tails
        losses = np.sort(Scenarios(small.returns).losses_of(small.asked, small.asked))
        value = float(limit.measure(losses[-8:]))
        bound = (value - NEAR) / EQUITY
        if bound * EQUITY + NEAR != value:
            continue
        exact += 1
        for factor, decided in ((1.0, True), (1.0 - 1e-11, False)):
            tail = Tail(limit=bound * factor, confidence=0.9, lookback=80)
            assert (small.said(override(FREE, **{key: tail})) is not None) is decided
    assert exact > 3


def test_a_form_at_exactly_its_bound_is_the_short_ways_with_shorts_too() -> None:
    """Half of equity in one name is a Herfindahl index of a quarter."""
    limits, bound = override(FREE, max_herfindahl=0.25), 0.5 * EQUITY + NEAR
    for side in (1.0, -1.0):
        for px, decided in ((bound, True), (beyond(bound), False)):
            assert (Small([0.0] * 3, [side, 0.0, 0.0], [px, 1.0, 1.0]).said(limits) is not None) is decided
    both = Small([0.0] * 3, [1.0, -1.0, 0.0], [0.4 * EQUITY, 0.4 * EQUITY, 1.0])
    assert both.said(limits) is None
    assert both.said(override(limits, max_herfindahl=0.33)) == [1.0, -1.0, 0.0]


def test_the_sum_of_deviations_decides_before_any_covariance_is_made() -> None:
    asked = np.array([4_096.0, 2_048.0, 0.0])
    crude = float(Scenarios(Small([0.0] * 3, asked).returns).deviation() @ asked)
    # what offsets is not counted on
    together = np.maximum(np.cov(Small([0.0] * 3, asked).returns.T), 0.0)
    exact = float(np.sqrt(asked @ together @ asked))
    assert exact < 0.9 * crude
    for bound, made, decided in (
        (crude * (1.0 + 1e-9), False, True), (crude * (1.0 - 1e-7), True, True), (exact * (1.0 + 1e-7), True, True),
        (exact * (1.0 - 1e-7), True, False),
    ):  # fmt: skip
        small = Small([0.0] * 3, asked)
        limits = override(FREE, max_volatility=bound * np.sqrt(252.0) / EQUITY, volatility_lookback=80)
        assert (small.said(limits) is not None) is decided
        assert ("cov" in vars(small.ctx.window(80, 60).all.sample)) is made
    # a form of a book with shorts is the long way's unless the sum decides it
    for factor, decided in ((1.01, True), (0.99, False)):
        small = Small([0.0] * 3, [4_096.0, -2_048.0, 0.0])
        limits = override(FREE, max_volatility=factor * crude * np.sqrt(252.0) / EQUITY, volatility_lookback=80)
        assert (small.said(limits) is not None) is decided


@pytest.mark.parametrize(
    ("limits", "lots"),
    [
        (override(FREE, max_gross_exposure=0.75), [32_768.0, -16_384.0, 0.0]),
        (override(FREE, max_net_exposure=0.5), [32_768.0, -9.0, 0.0]),
        (override(FREE, max_net_exposure=0.5), [9.0, -32_768.0, 0.0]),
        (override(FREE, max_leverage=1.5), [0.0, -32_768.0, 0.0]),
        (override(FREE, max_leverage=0.75), [49_152.0, 0.0, 0.0]),
        (override(FREE, cash_reserve=0.25), [49_152.0, -9.0, 0.0]),
    ],
)
def test_rows_of_a_book_with_shorts_are_kept_at_exactly_their_bound(limits: Limits, lots: list[float]) -> None:
    small = Small([0.0, 0.0, -0.0], lots)
    basket = small.basket(limits, True)
    rules = rules_of(limits, small.ctx.universe)
    assert basket.short is not None
    assert quantd.risk.plain._rows_keep(rules, basket, basket.short)
    more = [x + np.sign(x) * (abs(x) > 9.0) for x in lots]
    beyond_it = Small([0.0] * 3, more).basket(limits, True)
    assert beyond_it.short is not None
    assert not quantd.risk.plain._rows_keep(rules, beyond_it, beyond_it.short)


# ---- mutants: each shortcut compared with a bound that is too wide --------------------------------------

_names, _scenarios, _rows = (
    quantd.risk.plain._names_keep,
    quantd.risk.plain._scenarios_keep,
    quantd.risk.plain._rows_factor,
)
_volumes, _basket, _reach = (
    quantd.risk.plain._volumes_keep,
    quantd.risk.plain.Basket.__init__,
    quantd.risk.plain.Scenarios.reach,
)
_pairs, _few = quantd.risk.plain._pairs_keep, quantd.risk.plain._few


def without(*keys: str) -> Callable[..., Any]:
    """Names kept whatever `keys` say."""

    def keep(rules: Any, *rest: Any) -> bool:
        off: dict[str, Any] = {key: () if key == "group_caps" else None for key in keys}
        return _names(Rules(override(rules.limits, **off), rules.universe), *rest)

    return keep


def few_without(key: str) -> Callable[..., Any]:
    def few(rules: Any, *rest: Any) -> bool:
        return _few(Rules(override(rules.limits, **{key: None}), rules.universe), *rest)

    return few


def volumes_without(key: str) -> Callable[..., Any]:
    def keep(ctx: Any, account: Any, rules: Any, market: Any, basket: Any) -> bool:
        less = Rules(override(rules.limits, **{key: None}), rules.universe)
        return _volumes(ctx, account, less, market._replace(order_value=0.0), basket)

    return keep


def scenarios_without(*keys: str) -> Callable[..., Any]:
    def keep(rules: Any, *rest: Any) -> bool:
        off = dict.fromkeys(keys)
        return _scenarios(Rules(override(rules.limits, **off), rules.universe), *rest)

    return keep


def at_the_mark(rules: Any, basket: Any) -> Any:
    basket.low = basket.equity
    return _rows(rules, basket)


def never_crosses(account: Any, wanted: Any) -> bool:
    return False


def rows_without(reason: Reason) -> Callable[..., Any]:
    def factor(rules: Any, *rest: Any) -> Any:
        less = Rules(rules.limits, rules.universe)
        object.__setattr__(less, "long_rows", [row for row in rules.long_rows if row[1] != reason])
        return _rows(less, *rest)

    return factor


def held_only(rules: Any, market: Any, basket: Any) -> bool:
    """Purchases beside what is sold, as if all sales had filled."""
    basket.high = basket.long = basket.long - (basket.moved - basket.adding)
    return _scenarios(rules, market, basket)


def far_too_near(rules: Any, market: Any, basket: Any) -> bool:
    """The shortcut of the tails trusts a smaller reach than a book can have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantd.risk.plain.Scenarios, "reach", lambda self, m: 0.2 * _reach(self, m))
        return _scenarios(rules, market, basket)


def pairs_with(**changes: float) -> Callable[..., Any]:
    def keep(spec: Correlation, *rest: Any) -> bool:
        wider = {key: getattr(spec, key) * factor for key, factor in changes.items()}
        return _pairs(replace(spec, **wider), *rest)

    return keep


def no_links(spec: Any, *rest: Any) -> bool:
    """Links that are not looked at are taken for none."""
    return True


def open_orders_forgotten(self: Any, ctx: Any, account: Any, rules: Any, wanted: Any, sided: bool) -> None:
    bare = Account(lots=account.lots, cash=account.cash, equity=account.equity, traded=account.traded)
    _basket(self, ctx, bare, rules, wanted, sided)


MUTANTS: list[tuple[str, str, Any]] = [
    ("weights", "_names_keep", without("max_position_weight")),
    ("pairs", "_names_keep", without("correlation")),
    ("joint weight", "_pairs_keep", pairs_with(joint_weight=1.1)),
    ("least weight of a pair", "_pairs_keep", pairs_with(min_weight=1.2)),
    ("links", "_pairs_keep", no_links),
    ("sectors", "_names_keep", without("max_sector_weight")),
    ("groups", "_names_keep", without("group_caps")),
    ("assets", "_names_keep", without("max_concentration")),
    ("liquidity", "_volumes_keep", volumes_without("liquidity")),
    ("open orders forgotten", "Basket.__init__", open_orders_forgotten),
    ("the reach of a tail", "_scenarios_keep", far_too_near),
    ("order rate", "_few", few_without("order_rate")),
    ("open orders", "_few", few_without("max_open_orders")),
    ("leverage", "_rows_factor", rows_without(Reason.LEVERAGE)),
    ("orders through zero", "_crosses", never_crosses),
    ("order notional", "_names_keep", without("max_order_notional")),
    ("share of volume", "_volumes_keep", volumes_without("max_share_of_volume")),
    ("value at risk", "_scenarios_keep", scenarios_without("var")),
    ("expected shortfall", "_scenarios_keep", scenarios_without("cvar")),
    ("volatility", "_scenarios_keep", scenarios_without("max_volatility")),
    ("concentration", "_scenarios_keep", scenarios_without("max_herfindahl")),
    ("sales counted before they fill", "_scenarios_keep", held_only),
    ("worst prices ignored in equity", "_rows_factor", at_the_mark),
    ("gross", "_rows_factor", rows_without(Reason.GROSS)),
    ("net", "_rows_factor", rows_without(Reason.NET)),
    ("turnover", "_rows_factor", rows_without(Reason.TURNOVER)),
    ("cash", "_rows_factor", rows_without(Reason.CASH)),
]


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize(("name", "attribute", "mutant"), MUTANTS, ids=[m[0] for m in MUTANTS])
def test_the_comparison_sees_a_planted_fault(
    name: str, attribute: str, mutant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"quantd.risk.plain.{attribute}", mutant)
    for first in range(0, 6000, 100):
        if differences(first, 100, monkeypatch)[2]:
            return
    pytest.fail(f"nobody saw: {name}")


def test_what_is_not_plain_is_left_to_the_long_way() -> None:
    book = long_book(1)
    n = len(book.px)
    zeros, asked, cash = np.zeros(n), np.ones(n), 100_000.0

    def decided(account: Account, lots: Any = asked, limits: Limits | None = None) -> bool:
        rules = rules_of(limits or Limits(), book.ctx.universe)
        return plain(book.ctx, account, lots, rules, np.zeros(n, np.int8)) is not None

    empty = Account(lots=zeros, cash=cash, equity=cash)
    assert decided(empty)
    assert decided(Account(lots=zeros, cash=cash, equity=cash, up=zeros, up_cash=1.0, open_loss=0.0))
    assert decided(Account(lots=zeros, cash=cash, equity=cash, down=asked * 2))
    assert not decided(Account(lots=zeros, cash=cash, equity=cash, up_cash=np.nan))
    short = Account(lots=-asked, cash=cash, equity=cash)
    assert decided(empty, -asked)
    assert not decided(empty, -asked, Limits(allow_short=False))
    assert not decided(short, asked * 2)
    assert not decided(short, asked)  # what only reduces is not its business
    assert not decided(Account(lots=-asked * 9, cash=cash, equity=cash, up=asked * 8), asked * 2)
    for bad in (np.nan, np.inf):
        assert not decided(empty, np.append(asked[1:], bad))
        assert not decided(Account(lots=zeros, cash=bad, equity=cash))
        assert not decided(Account(lots=zeros, cash=cash, equity=bad))
        assert not decided(Account(lots=np.append(zeros[1:], bad), cash=cash, equity=cash))
    assert not decided(Account(lots=zeros, cash=cash, equity=cash, repeated=zeros))
    assert not decided(Account(lots=zeros, cash=cash, equity=cash, blocked=zeros > 0))
    assert not decided(Account(lots=zeros, cash=cash, equity=cash, traded=np.nan))
    for limits in (Limits(in_flight=0.1), Limits(max_cash_debit=0.1)):
        assert not decided(empty, limits=limits)
    if not all(book.ctx.universe.sectors):
        assert not decided(empty, limits=Limits(max_sector_weight=0.5))
    counted = Limits(max_open_orders=n), Limits(order_rate=Rate(n))
    assert all(decided(empty, limits=limits) for limits in counted)
    busy = Account(lots=zeros, cash=cash, equity=cash, open_orders=1, recent_orders=1)
    assert not any(decided(busy, limits=limits) for limits in counted)
    assert not decided(empty, limits=Limits(restricted=(book.ctx.universe.symbols[0],)))


def test_a_market_that_is_old_missing_or_too_coarse_is_left_to_the_long_way() -> None:
    px, returns, rng = np.array([0.505, 50.0]), np.zeros((80, 2)), np.random.default_rng(1)
    empty, asked = Account(lots=np.zeros(2), cash=1e5, equity=1e5), np.ones(2)
    tail = Limits(var=Tail(limit=0.5, lookback=80))

    def decided(ctx: Context, limits: Limits = tail) -> bool:
        return plain(ctx, empty, asked, rules_of(limits, ctx.universe), np.zeros(2, np.int8)) is not None

    gap = rng.normal(0.0, 0.01, (80, 2))
    gap[3, 1] = np.nan
    old = np.array([0, Limits().max_price_age_ns + 1])
    assert decided(make_context(px, returns, ["A", "B"]))
    assert not decided(make_context(px, gap, ["A", "B"]))
    assert not decided(make_context(px, returns[:59], ["A", "B"]))
    assert not decided(make_context(px, returns, ["A", "B"], age_ns=old))
    assert not decided(make_context(px, returns, ["A", "B"], age_ns=-old))
    for bad in (0.0, -1.0, np.nan, np.inf):
        assert not decided(make_context(np.array([50.0, bad]), returns, ["A", "B"]))
    # half a cent above the grid, with a cent between ticks
    coarse = make_context(px, returns, ["A", "B"], prices_nano=np.array([NANO * 505 // 1000, 50 * NANO]))
    assert decided(coarse)
    assert not decided(coarse, override(tail, collar=0.001))
    assert not decided(coarse, override(tail, reduce_collar=0.001))


# ---- shortcuts of the context and of the record ---------------------------------------------------------


def grids(mutant: Callable[[Any], float]) -> int:
    """Contexts of mixed ticks in which the first look at the grid says something else than the whole."""
    wrong = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        ticks = rng.choice([NANO // 100, NANO // 4, NANO], 4)
        nano = rng.integers(NANO // 20, 40 * NANO, 4)
        collar = float(rng.choice([0.01, 0.05, 0.2]))
        names = ["A", "B", "C", "D"]
        first, whole = (make_context(nano / NANO, np.zeros((80, 4)), names, prices_nano=nano) for _ in "12")
        one, other = (
            first.off_grid(collar, ticks.astype(float), mutant(ticks)),
            whole.off_grid(collar, ticks.astype(float)),
        )
        wrong += (one is None) != (other is None) or (one is not None and not np.array_equal(one, other))
    return wrong


def test_the_first_look_at_the_grid_says_what_the_whole_says() -> None:
    assert grids(lambda ticks: float(ticks.max())) == 0
    # and the comparison sees a look at the finest tick
    assert grids(lambda ticks: float(ticks.min())) > 0


def test_the_joint_weight_of_the_record_is_that_of_the_heaviest_linked_pair() -> None:
    """Judged with numpy's corrcoef; books with no linked pair, where nothing is looked for, are among them."""
    none = some = 0
    for seed in range(300):
        book = long_book(seed)
        spec, n = book.limits.correlation, len(book.px)
        if spec is None or n < 2:
            continue
        weight = book.account.lots * book.px / book.account.equity
        rho = np.corrcoef(book.returns.T)
        pairs = [
            weight[i] + weight[j]
            for i in range(n)
            for j in range(i)
            if rho[i, j] > spec.threshold and min(weight[i], weight[j]) > spec.min_weight
        ]
        value, _ = standing(book.ctx, book.account, book.limits, None)["correlation"]
        assert value == pytest.approx(max(pairs, default=0.0), rel=1e-9)
        none, some = none + (not pairs), some + bool(pairs)
    assert none > 20
    assert some > 10


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        (Limits(max_gross_exposure=0.4), [40, -40]),
        (Limits(max_net_exposure=0.3), [60, -1]),
        (Limits(max_net_exposure=0.3), [1, -60]),
        (Limits(max_leverage=1.3), [1, -60]),
        (Limits(max_leverage=1.0), [1, -1]),
        (Limits(max_turnover=0.1), [40, -40]),
        (Limits(cash_reserve=0.9), [60, -1]),
    ],
)
def test_a_book_with_shorts_that_breaks_one_row_is_left_to_the_long_way(limits: Limits, asked: list[float]) -> None:
    """Held: 10 % long and 10 % short."""
    ctx = make_context(np.array([500.0, 500.0]), np.zeros((252, 2)), ["A", "B"])
    account = Account(lots=np.array([20.0, -20.0]), cash=100_000.0, equity=100_000.0)

    def short_way(of: Limits) -> np.ndarray | None:
        return plain(ctx, account, np.array(asked, dtype=float), rules_of(of, ctx.universe), np.zeros(2, np.int8))

    assert short_way(limits) is None
    assert short_way(Limits()) is not None
    assert gate(ctx, account, np.array(asked, dtype=float), limits).lots.tolist() != asked

"""The short way through the gate passes what the long way passes, limit for limit and lot for lot."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import risk.gate as gate_module
import risk.plain
from risk.gate import Account, Context, gate
from risk.limits import Correlation, Limits, Rate, Reason, Tail, override
from risk.plain import plain
from risk.rules import Rules, rules_of
from risk.standing import standing
from tests.risk_cases import Book, make_context, random_book
from trading.instruments import NANO


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


# ---- mutants: each shortcut compared with a bound that is too wide --------------------------------------

_names, _scenarios, _rows = risk.plain._names_keep, risk.plain._scenarios_keep, risk.plain._rows_factor
_volumes, _basket, _reach = risk.plain._volumes_keep, risk.plain.Basket.__init__, risk.plain.Scenarios.reach
_pairs, _few = risk.plain._pairs_keep, risk.plain._few


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
        patch.setattr(risk.plain.Scenarios, "reach", lambda self, m: 0.2 * _reach(self, m))
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


@pytest.mark.parametrize(("name", "attribute", "mutant"), MUTANTS, ids=[m[0] for m in MUTANTS])
def test_the_comparison_sees_a_planted_fault(
    name: str, attribute: str, mutant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"risk.plain.{attribute}", mutant)
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

"""What is measured of a book, against definitions written out: what is held, what is open, and what is asked for."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Correlation, Limits, Tail, override, value_of
from quantd.risk.limits.values import Portfolio, Values, standing, standings
from quantd.risk.measures.portfolio import FEW
from tests.support.examples import examples
from tests.support.risk_books import (
    Book,
    correlations,
    make_context,
    numerators,
    random_book,
    scenario_returns,
    scenario_rows,
)

SEEDS = st.integers(0, 2**32 - 1)
NAMED = {
    "max_gross_exposure": "gross", "var": "var", "cvar": "cvar", "max_volatility": "volatility",
    "max_turnover": "turnover", "stress": "stress",
}  # fmt: skip
"""Key -> name in `risk_cases.numerators`."""
LARGEST = {"max_position_weight": "weight", "max_sector_weight": "sector", "max_concentration": "asset"}
"""Key -> what the largest is taken of there."""


def judged(book: Book, lots: np.ndarray | None) -> Values:
    """Every value by its definition, of what is held (None) or after `lots` and all that is open."""
    account, limits, n = book.account, book.limits, len(book.px)
    held, cash, equity, traded = held_after(account, lots), account.cash, account.equity, account.traded
    if lots is not None:
        fee = limits.fee_bp * 1e-4
        up = np.zeros(n) if account.up is None else account.up
        down = np.zeros(n) if account.down is None else account.down
        traded += float((np.abs(lots) + up + down) @ book.px)
        equity -= float(np.abs(lots) @ book.px) * fee
        collar = np.where(account.lots < 0.0, limits.reduce_collar, limits.collar)
        cash -= float(np.maximum(lots, 0.0) @ (book.px * (1.0 + collar))) * (1.0 + fee) + account.up_cash
    values = {"cash": (cash, (limits.cash_reserve - limits.max_cash_debit) * account.equity)}
    if not equity > 0.0:
        return values
    exposure = held * book.px
    state = SimpleNamespace(
        exposure=exposure[None, :], traded=np.array([traded]), matters=held != 0.0, room=1.0, equity=np.array([equity])
    )
    enough = all(len(rows) >= limits.min_history for rows in scenario_rows(book, state.matters).values())
    seen = book if enough else SimpleNamespace(**vars(book) | {"limits": without_history(limits)})
    shares = {name: (float(value[0]) / equity, bound) for name, (value, bound) in numerators(seen, state).items()}
    values |= {key: shares[name] for key, name in NAMED.items() if name in shares}
    for key, start in LARGEST.items():
        if getattr(limits, key) is not None:
            all_of = [value for name, (value, _) in shares.items() if name.startswith(f"{start} ")]
            values[key] = (max(all_of, default=0.0), getattr(limits, key))
    for group, cap in limits.group_caps:
        values[f"group_caps.{group}"] = (shares[f"group {group}"][0], cap)
    if limits.max_net_exposure is not None:
        values["max_net_exposure"] = (abs(float(exposure.sum())) / equity, limits.max_net_exposure)
    if limits.max_leverage is not None:
        long, short = shares["leverage long"][0], shares["leverage short"][0]
        values["max_leverage"] = (max(long, 1.0 + short if short > 0.0 else 0.0), limits.max_leverage)
    if limits.max_herfindahl is not None:
        values["max_herfindahl"] = (float((exposure**2).sum()) / equity**2, limits.max_herfindahl)
    if limits.correlation is not None and enough:
        bound = 0.0 if limits.correlation.strict else limits.correlation.joint_weight
        values["correlation"] = (heaviest_pair(book, exposure / equity, state.matters), bound)
    average = value_of(limits, "average_correlation")
    if average is not None and enough:
        side, rho = np.sign(exposure), correlations(scenario_rows(book, state.matters)[limits.volatility_lookback])
        pairs = combinations(np.flatnonzero(exposure).tolist(), 2)
        both = [rho[i, j] * side[i] * side[j] for i, j in pairs]
        values["average_correlation"] = (float(np.mean(both)) if both else 0.0, average)
    return values


def held_after(account: Account, lots: np.ndarray | None) -> np.ndarray:
    if lots is None:
        return account.lots
    sides = (side for side in (account.up, None if account.down is None else -account.down) if side is not None)
    return sum(sides, account.lots + lots)


def without_history(limits: Limits) -> Limits:
    return override(limits, var=None, cvar=None, max_volatility=None, correlation=None, average_correlation=None)


def heaviest_pair(book: Book, weights: np.ndarray, matters: np.ndarray) -> float:
    """The largest joint weight of two that lose together and weigh enough."""
    spec = book.limits.correlation
    assert spec is not None
    rows = scenario_rows(book, matters)[spec.lookback]
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = np.atleast_2d(np.corrcoef(rows.T))
    return max(
        (
            abs(weights[i]) + abs(weights[j])
            for i, j in combinations(range(len(weights)), 2)
            if min(abs(weights[i]), abs(weights[j])) > spec.min_weight
            and rho[i, j] * np.sign(weights[i] * weights[j]) > spec.threshold
        ),
        default=0.0,
    )


def close(values: Values) -> object:
    return {
        key: (pytest.approx(value, rel=1e-6, abs=1e-9), pytest.approx(bound)) for key, (value, bound) in values.items()
    }


@pytest.mark.requirement("R-268", "F-41")
@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(SEEDS)
def test_values_are_those_of_an_evaluator_of_its_own(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = random_book(rng)
    if rng.random() < 0.4:
        book.returns[rng.random(book.returns.shape) < rng.choice([0.02, 0.2])] = np.nan
    for lots in (None, book.asked, -book.account.lots):
        # with gaps, what an empty book is measured by depends on which rows are left
        if held_after(book.account, lots).any() or np.isfinite(book.returns).all():
            assert standing(book.ctx, book.account, book.limits, lots) == close(judged(book, lots))


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS)
def test_books_measured_together_are_measured_as_each_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = random_book(rng)
    other_limits = [override(random_book(rng).limits, group_caps=()) for _ in range(2)]
    asked: list[tuple[Account, Limits, np.ndarray | None]] = []
    for limits in (book.limits, book.limits, *other_limits):
        for lots in (None, book.asked, np.trunc(rng.normal(0.0, 0.2, len(book.px)) * 1e5 / book.px)):
            asked.append((book.account, limits, lots))
    ruined = Account(lots=book.account.lots, cash=-1e6, equity=-1.0)
    asked.insert(3, (ruined, book.limits, None))
    alone = [standing(book.ctx, *portfolio) for portfolio in asked]
    assert standings(book.ctx, [Portfolio(book.ctx, *portfolio) for portfolio in asked]) == [
        close(values) for values in alone
    ]
    assert alone[3].keys() == {"cash"}


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS)
def test_what_is_wanted_of_some_books_has_the_bits_that_it_has_of_all(seed: int) -> None:
    """Also beside other books, and with gaps in the returns."""
    rng = np.random.default_rng(seed)
    book = random_book(rng)
    if rng.random() < 0.3:
        book.returns[rng.random(book.returns.shape) < 0.02] = np.nan
    asked: list[tuple[Account, Limits, np.ndarray | None]] = []
    for limits in (book.limits, *(override(random_book(rng).limits, group_caps=()) for _ in range(2))):
        for lots in (None, book.asked):
            asked.append((book.account, limits, lots))
    beside = asked[: int(rng.integers(0, 3))]
    measured = standings(
        book.ctx,
        [Portfolio(book.ctx, *portfolio) for portfolio in asked],
        0.0,
        [Portfolio(book.ctx, *portfolio) for portfolio in beside],
    )
    wanted = [
        None if rng.random() < 0.1 else {key for key in values if rng.random() < rng.choice([0.0, 0.3])}
        for values in measured
    ]
    some = standings(
        book.ctx,
        [Portfolio(book.ctx, *portfolio, wanted=keys) for portfolio, keys in zip(asked, wanted, strict=True)],
        0.0,
        [Portfolio(book.ctx, *portfolio) for portfolio in beside],
    )
    for values, keys, part in zip(measured, wanted, some, strict=True):
        for key in values if keys is None else keys:
            assert part[key] == values[key], key
        assert part.items() <= values.items()
        if keys is None:
            assert list(part) == list(values)  # a record has an order


@pytest.mark.requirement("R-024")
@pytest.mark.parametrize("size", [FEW, FEW + 1, 150])
def test_a_large_universe_is_measured_as_a_small_one(size: int) -> None:
    rng = np.random.default_rng(size)
    px, returns = np.round(rng.uniform(5.0, 50.0, size), 2), scenario_returns(rng, size)
    names = [f"S{k}" for k in range(size)]
    limits = Limits(
        collar=0.02, fee_bp=10.0, max_position_weight=0.2, max_gross_exposure=1.5, max_net_exposure=0.5,
        max_herfindahl=0.1, max_turnover=0.5, max_volatility=0.2, volatility_lookback=80,
        var=Tail(limit=0.05, lookback=80, horizon=4), cvar=Tail(limit=0.05, lookback=80, method="ewma"),
        correlation=Correlation(threshold=0.5, joint_weight=0.1, min_weight=0.01, lookback=80),
    )  # fmt: skip
    lots = np.trunc(rng.normal(0.0, 0.02, size) * 1e5 / px)
    account = Account(lots=lots, cash=1e5 - float(lots @ px), equity=1e5)
    asked = np.trunc(rng.normal(0.0, 0.02, size) * 1e5 / px)
    book = Book(make_context(px, returns, names), account, asked, limits, [], returns, px, names)
    values = judged(book, asked)
    assert values["correlation"][0] > 0.0
    assert standing(book.ctx, account, limits, asked) == close(values)
    assert standing(book.ctx, account, limits, None) == close(judged(book, None))


def test_a_limit_that_is_off_has_no_value() -> None:
    ctx = make_context(np.array([100.0]), np.zeros((80, 1)), ["A"])
    account = Account(lots=np.array([500.0]), cash=50_000.0, equity=1e5)
    assert standing(ctx, account, Limits(), None) == {"cash": (50_000.0, 0.0)}
    assert standing(ctx, account, Limits(cash_reserve=0.2, max_cash_debit=0.05), None)["cash"][1] == pytest.approx(
        15_000.0
    )
    assert standing(ctx, account, Limits(max_concentration=0.4), None)["max_concentration"] == (0.5, 0.4)


@pytest.mark.parametrize(("equity", "has_exposure"), [(0.0, False), (-1.0, False), (1e-3, True)])
def test_without_equity_there_is_cash_and_nothing_else(equity: float, has_exposure: bool) -> None:
    ctx = make_context(np.array([100.0]), np.zeros((80, 1)), ["A"])
    account = Account(lots=np.array([1.0]), cash=-100.0, equity=equity)
    assert ("max_gross_exposure" in standing(ctx, account, Limits(max_gross_exposure=1.0), None)) is has_exposure


def shares(n: int, rows: int = 80, seed: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(prices float64[n], returns float64[rows, n], names)."""
    rng = np.random.default_rng(seed)
    return np.round(rng.uniform(5.0, 50.0, n), 2), scenario_returns(rng, n, rows), [f"S{k}" for k in range(n)]


def test_what_covers_a_short_position_may_cost_more_and_only_that() -> None:
    px, returns, names = shares(9)
    ctx = make_context(px, returns, names)
    limits = Limits(collar=0.031, reduce_collar=0.17)
    for seed in range(20):
        buys = np.trunc(np.random.default_rng(seed).uniform(1.0, 99.0, 9))
        for held in (np.full(9, 5.0), np.array([0.0, *[5.0] * 8])):
            account = Account(lots=held, cash=1e5, equity=1e5)
            # one product of the sum, to the last bit
            assert standing(ctx, account, limits, buys)["cash"][0] == 1e5 - sum((buys * px).tolist()) * 1.031
        account = Account(lots=np.array([-200.0, *[5.0] * 8]), cash=1e5, equity=1e5)
        paid = float((buys * px)[1:].sum()) * 1.031 + float(buys[0] * px[0]) * 1.17
        assert standing(ctx, account, limits, buys)["cash"][0] == pytest.approx(1e5 - paid)

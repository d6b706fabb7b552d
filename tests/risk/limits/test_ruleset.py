"""The closed forms against bisection, and every limit of the tables read from its key."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk.limits import orders
from quantd.risk.limits import ruleset as rules_module
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import EXTRA, PROFILES, AccountCap, Limits, Liquidity, Ramp, Stress, Tail, override
from quantd.risk.limits.context import Floats
from quantd.risk.limits.kinds import Form, Labels, Linear, Losses, Refused, Room, refused
from quantd.risk.limits.record import Barred, Capped, Counts, Families, Forms, Limit, Refusal, Rows, Tails
from quantd.risk.limits.ruleset import (
    BARS,
    CAPS,
    COUNTS,
    FAMILIES,
    FORMS,
    ROWS,
    TAILS,
    Rules,
    moves,
    prepare,
    rules_of,
)
from quantd.risk.measures.portfolio import historical_cvar, historical_var, tail_count
from quantd.risk.measures.stress import Shock
from quantd.risk.pretrade import worst_losses
from quantd.risk.pretrade.gate import gate
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.standing import Basket, Factor
from quantd.trading.instruments import NANO, Instrument, Universe
from tests.support.examples import examples
from tests.support.risk_books import make_context

UNIVERSE = Universe((Instrument("A", sector="x"), Instrument("B", asset="A")), groups=(("all", ("A", "B")),))


def largest_of(mean: bool) -> Callable[[Floats, Floats, int, float, float], float]:
    """The gate's largest factor of a tail; `mean`: of the mean of the worst losses."""

    def largest(base: Floats, adding: Floats, m: int, target: float, fall: float) -> float:
        tails = worst_losses.Tails(Basket(1), Factor(1), Loops())
        tails.widen(len(base))
        np.asarray(tails.base)[:] = base
        return tails.factor_of(mean, m, len(base), target, fall, np.ascontiguousarray(adding).data)

    return largest


var_largest, cvar_largest = largest_of(False), largest_of(True)


@pytest.mark.long
@pytest.mark.parametrize(("largest", "measure"), [(var_largest, historical_var), (cvar_largest, historical_cvar)])
@settings(max_examples=examples(120), deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_largest_factor_is_the_one_bisection_finds(largest: object, measure: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(20, 260))
    base, adding = rng.standard_t(4, count), np.maximum(rng.standard_t(4, count), 0.0)
    m, fall = tail_count(count, 0.95), float(rng.choice([0.0, 0.3]))
    target = measure(base, 0.95) + float(rng.uniform(0.0, 2.0))  # type: ignore[operator]
    factor = largest(base, adding, m, target, fall)  # type: ignore[operator]

    def complies(f: float) -> bool:
        return measure(base + f * adding, 0.95) <= target - f * fall + 1e-9  # type: ignore[operator]

    low, high = 0.0, 1.0
    if complies(1.0):
        assert factor >= 1.0 - 1e-9
        return
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if complies(middle) else (low, middle)
    assert factor == pytest.approx(low, abs=1e-6)


def test_every_portfolio_key_is_read_by_exactly_one_rule() -> None:
    everything = Limits(
        max_gross_exposure=1, max_net_exposure=1, max_sector_weight=1, max_turnover=1, max_volatility=1,
        max_concentration=1, max_herfindahl=1, max_leverage=1, var=Tail(limit=1), cvar=Tail(limit=1),
        group_caps=(("all", 1.0),),
    )  # fmt: skip
    rules = Rules(everything, UNIVERSE)
    keys = (
        {r.key for r in rules.rows}
        | {f.key for f in rules.families}
        | {t.key for t in rules.tails}
        | {q.key for q in rules.quads}
    )
    assert keys == {
        "max_gross_exposure", "max_net_exposure", "max_sector_weight", "max_turnover", "cash", "equity",
        "max_leverage", "group_caps.all", "max_concentration", "var", "cvar", "max_volatility", "max_herfindahl",
    }  # fmt: skip
    bare = Rules(Limits(), UNIVERSE)
    assert {r.key for r in bare.rows} == {"cash", "equity"}
    power = Rules(Limits(collar=0.1, fee_bp=100.0, in_flight=0.5, buying_power=AccountCap(0.2, 20.0)), UNIVERSE).rows[
        -2
    ]
    assert (power.key, power.bound, power.settled_bound) == ("buying_power", 0.2, 0.2)
    assert power.load.tolist() == power.settled_load.tolist() == pytest.approx([1.111] * 2 * UNIVERSE.size)
    assert not power.held.any()
    assert not bare.tails
    assert not bare.quads
    assert keys_of(ROWS) == {
        "max_gross_exposure", "max_net_exposure", "max_turnover", "cash", "equity",
        "max_leverage", "max_account_notional", "ramp", "buying_power",
    }  # fmt: skip
    assert keys_of(FAMILIES) == {"max_sector_weight", "group_caps", "max_concentration"}
    assert keys_of(TAILS) == {"var", "cvar", "stress"}
    assert keys_of(FORMS) == {"var", "cvar", "max_volatility", "max_herfindahl"}


def test_rules_with_moved_bounds_are_the_rules_made_of_the_limits():
    """Live, the buying power, the cap in money and the ramp have other bounds at each sample."""
    before = override(
        PROFILES["balanced"], max_account_notional=AccountCap(0.5, 50.0), ramp=Ramp(0.2, 1, 9), cash_reserve=0.1,
        buying_power=AccountCap(0.2, 20.0),
    )  # fmt: skip
    after = override(
        before, max_account_notional=AccountCap(0.4, 50.0), ramp=Ramp(0.3, 2, 9), buying_power=AccountCap(0.0, 0.0)
    )
    assert moves(before, after)
    moved, made_anew = Rules(before, UNIVERSE).moved(after), Rules(after, UNIVERSE)
    assert [row.key for row in moved.rows] == [row.key for row in made_anew.rows]
    for row, new in zip(moved.rows, made_anew.rows, strict=True):
        assert (row.bound, row.settled_bound, row.load.tolist()) == (new.bound, new.settled_bound, new.load.tolist())
    assert moved.held_measures == made_anew.held_measures
    assert moved.limits is after
    assert not moves(before, override(after, buying_power=None)), "a limit that ends has no bound to move"
    assert not moves(before, override(after, max_position_weight=0.01))
    prepare(before, after, UNIVERSE)
    assert rules_of(after, UNIVERSE).rows[-1].key == made_anew.rows[-1].key


def keys_of(kind: Sequence[tuple[Limit, Any]]) -> set[str]:
    """The limits of a kind, each once. A limit without a field in `Limits` may have any kind."""
    keys = [limit.key for limit, _ in kind]
    assert len(set(keys)) == len(keys)
    return set(keys) - EXTRA.keys()


SIZE = 16
ODD = np.arange(SIZE) % 2 == 1
MANY = Universe(tuple(Instrument(f"S{k:02}") for k in range(SIZE)))


SOME = Limit("some", 0, "some", refusals=(Refusal(120, "SOME", "some"),))


def _kept() -> Floats:
    """A limit may hand out what it keeps."""
    room = np.where(ODD, 0.0, np.inf)
    room.flags.writeable = False
    return room


DECLARED: dict[str, tuple[list[Any], Any]] = {
    "cap": (CAPS, Capped(1, lambda ctx, rules: refused(ODD))),
    "room": (CAPS, Capped(1, lambda ctx, rules: Room(np.where(ODD, 0.0, np.inf), np.where(ODD, 0.0, np.inf)))),
    "room that nobody may write": (CAPS, Capped(1, lambda ctx, rules: Room(_kept(), _kept()))),
    "bar": (BARS, Barred(1, lambda rules, account, asked: ODD)),
    "count": (COUNTS, Counts(1, lambda account: 0, lambda value: SIZE // 2)),
    "row": (ROWS, Rows(1, lambda value, limits, universe: [Linear(0.001, long=ODD * 1.0, short=ODD * 1.0)])),
    "family": (FAMILIES, Families(1, lambda value, limits,
    universe: [Labels(["odd" if odd else "" for odd in ODD], 0.001)])),
    "tail": (TAILS, Tails(1, lambda value, limits, universe: [Losses(0.0001, False, 0.95, 80)])),
    "form": (FORMS, Forms(1, lambda value, limits: [Form(0.001)])),
}  # fmt: skip


@pytest.mark.parametrize("short", [False, True], ids=["long", "long and short"])
@pytest.mark.parametrize("kind", DECLARED)
def test_a_limit_that_is_only_declared_is_enforced(kind: str, short: bool, request: pytest.FixtureRequest) -> None:
    """The gate that everybody asks walks the tables, whichever way it decides by."""
    px, returns = np.full(SIZE, 100.0), np.random.default_rng(2).normal(0.0, 0.01, (80, SIZE))
    ctx = make_context(px, returns, list(MANY.symbols), universe=MANY)
    account = Account(lots=np.full(SIZE, 0.0), cash=100_000.0, equity=100_000.0)
    asked = np.full(SIZE, 10.0) * (np.where(np.arange(SIZE) % 3 == 0, -1.0, 1.0) if short else 1.0)

    def passed() -> list[float]:
        # made each time, as rules are kept by identity
        return gate(ctx, account, asked, Limits(in_flight=0.01)).lots.tolist()

    assert passed() == asked.tolist()
    table, declared = DECLARED[kind]
    # the same list, as everybody holds it
    table.append((SOME, declared))
    request.addfinalizer(lambda: table.remove((SOME, declared)))
    assert sum(lots == 0.0 for lots in passed()) >= SIZE // 2


@pytest.mark.parametrize(
    ("lots", "equity", "passes"), [(1.0, 1_600.0, True), (1.0, 1_599.0, False), (9.0, 14_400.0, True)]
)
def test_a_load_for_each_symbol_counts_to_the_lot(
    lots: float, equity: float, passes: bool, request: pytest.FixtureRequest
) -> None:
    """Purchases of half of the symbols may be worth half of the equity; a lot is worth 100, and all share a factor."""
    half = (SOME, Rows(1, lambda value, limits, universe: [Linear(0.5, long=ODD * 1.0, short=ODD * 0.0)]))
    ROWS.append(half)
    request.addfinalizer(lambda: ROWS.remove(half))
    ctx = make_context(np.full(SIZE, 100.0), np.zeros((80, SIZE)), list(MANY.symbols), universe=MANY)
    account = Account(lots=np.zeros(SIZE), cash=1e6, equity=equity)
    verdict = gate(ctx, account, np.full(SIZE, lots), Limits(collar=0.0, reduce_collar=0.0))
    assert verdict.lots.tolist() == [lots * passes] * SIZE


# ---- caps, by hand ---------------------------------------------------------------------------------------------------

INF = np.inf
MARKS = np.array([100.0, 50.0, 10.0])


def most_of(
    cap: str, limits: Limits, buys: list[bool], lots: np.ndarray, account: dict[str, Any], market: dict[str, Any]
) -> np.ndarray:
    """The most lots of three symbols under one cap; 10 of the first and -20 of the second are held."""
    px = np.asarray(market.pop("px", MARKS))
    ctx = make_context(px, np.zeros((80, 3)), ["A", "B", "C"], ["x", "", "y"], **market)
    book = Account(**{"lots": np.array([10.0, -20.0, 0.0]), "cash": 1e5, "equity": 1e5} | account)
    rules, side = rules_of(limits, ctx.universe), np.array(buys)
    bars = [bar.refused for _, bar in BARS if bar.refused.__name__ == cap]
    if bars:
        bad = bars[0](rules, book, np.where(side, lots, -lots))
        return np.full(3, INF) if bad is None else np.where(bad, 0.0, INF)
    (largest,) = (
        entry.largest
        for _, entry in CAPS
        if entry.largest is getattr(orders, cap, None) or getattr(entry.largest, "__name__", "") == cap
    )
    match largest(ctx, rules):
        case None:
            return np.full(3, INF)
        case Refused() as refusal:
            sides = [np.zeros(3, np.bool_) if refused is None else refused for refused in refusal]
            return np.where(np.where(side, *sides), 0.0, INF)
        case Room() as room:
            none = np.zeros(3)
            up, down = (none if open_lots is None else open_lots for open_lots in (book.up, book.down))
            used = {"none": none, "side": np.where(side, up, down), "both": up + down}[room.open]
            held = np.where(side, book.lots, -book.lots) * room.held
            return np.where(side, room.buys, room.sells) - used - held
    raise AssertionError(cap)


FALL = Shock("fall", moves={"x": -0.2, "y": -0.1})
ALL, FEW = np.array([5.0, 5.0, 5.0]), np.array([5.0, 5.0, 0.0])
LIQUID = Limits(liquidity=Liquidity(2.0, 0.5))
SHARE = Limits(max_share_of_volume=0.1)
OPEN = {"up": np.array([3.0, 4.0, 0.0]), "down": np.array([5.0, 6.0, 0.0])}
VOLUME = {"volume_lots": np.array([1_000.0, 500.0, 0.0])}


@pytest.mark.parametrize(
    ("cap", "limits", "buys", "lots", "account", "market", "most"),
    [
        ("price_missing", Limits(), [True] * 3, ALL, {}, {}, None),
        ("price_missing", Limits(), [True] * 3, ALL, {}, {"px": [100.0, np.nan, 0.0]}, [INF, 0.0, 0.0]),
        ("price_age", Limits(max_price_age_ns=7), [True] * 3, ALL, {}, {"age_ns": np.array([0, 7, 3])}, None),
        ("price_age", Limits(max_price_age_ns=7), [True] * 3, ALL, {}, {"age_ns": np.array([7, 8, 0])},
        [INF, 0.0, INF]),
        ("price_age", Limits(max_price_age_ns=7), [True] * 3, ALL, {}, {"age_ns": np.array([0, -1, 7])},
        [INF, 0.0, INF]),
        ("worst_price", Limits(collar=0.05), [True] * 3, ALL, {}, {}, None),
        ("worst_price", Limits(collar=0.05), [True] * 3, ALL, {},
         {"px": [0.035, 0.2, 10.0], "prices_nano": np.array([35, 200, 10_000]) * (NANO // 1_000)}, [0.0, INF, INF]),
        ("restricted", Limits(), [True] * 3, ALL, {}, {}, None),
        ("restricted", Limits(restricted=("B", "Z")), [True] * 3, ALL, {}, {}, [INF, 0.0, INF]),
        ("no_borrow", Limits(), [False] * 3, ALL, {}, {}, None),
        ("no_borrow", Limits(no_borrow=("B", "Z")), [True, False, False], ALL, {}, {}, [INF, 0.0, INF]),
        ("no_borrow", Limits(no_borrow=("B", "A")), [True, False, False], ALL, {}, {}, [INF, 0.0, INF]),
        ("short", Limits(), [False] * 3, ALL, {}, {}, None),
        ("short", Limits(allow_short=False), [True, True, False], FEW, {}, {}, None),
        ("short", Limits(allow_short=False), [True, True, False], ALL, {}, {}, [INF, INF, 0.0]),
        ("short", Limits(allow_short=False), [True, True, False], np.ones(3), {}, {}, [INF, INF, 0.0]),
        ("order_notional", Limits(), [True] * 3, ALL, {}, {}, None),
        # 5 x 100 and 5 % of it is 525
        ("order_notional", Limits(max_order_notional=525.0), [True] * 3, ALL, {}, {}, None),
        ("order_notional", Limits(max_order_notional=524.0), [True, True, False], ALL, {}, {},
         [524.0 / 105.0, 524.0 / 52.5, 52.4]),
        ("duplicate", Limits(), [True] * 3, ALL, {}, {}, None),
        ("duplicate", Limits(), [True, True, False], ALL, {"repeated": np.array([5.0, 6.0, -5.0])}, {},
        [0.0, INF, 0.0]),
        ("duplicate", Limits(), [True, False, True], ALL, {"repeated": np.array([-5.0, 5.0, np.nan])}, {},
        [INF, INF, 0.0]),
        ("blocked", Limits(), [True] * 3, ALL, {}, {}, None),
        ("blocked", Limits(), [True] * 3, ALL, {"blocked": np.array([True, False, False])}, {}, [0.0, INF, INF]),
        ("sector_missing", Limits(), [True] * 3, ALL, {}, {}, None),
        ("sector_missing", Limits(max_sector_weight=0.5), [True] * 3, ALL, {}, {}, [INF, 0.0, INF]),
        ("shock_missing", Limits(), [True] * 3, ALL, {}, {}, None),
        ("shock_missing", Limits(stress=Stress(0.1, (FALL,))), [True] * 3, ALL, {}, {}, [0.0, 0.0, 0.0]),
        ("shock_missing", Limits(stress=Stress(0.1, (FALL,))), [True] * 3, ALL, {"lots": np.array([1.0, 0.0, 0.0])}, {},
         [INF, 0.0, INF]),
        ("shock_missing", Limits(stress=Stress(0.1, (FALL,))), [True] * 3, ALL,
         {"lots": np.zeros(3), "up": np.array([0.0, 1.0, 0.0])}, {}, [0.0, 0.0, 0.0]),
        ("shock_missing", Limits(stress=Stress(0.1, (FALL,))), [True] * 3, ALL,
         {"lots": np.zeros(3), "up": np.array([1.0, 0.0, 0.0]), "down": np.array([0.0, 1.0, 0.0])}, {},
         [0.0, 0.0, 0.0]),
        ("volume_missing", Limits(), [True] * 3, ALL, {}, {"volume_lots": np.full(3, np.nan)}, None),
        ("volume_missing", SHARE, [True] * 3, ALL, {}, VOLUME, None),
        ("volume_missing", SHARE, [True] * 3, ALL, {}, {"volume_lots": np.array([0.0, np.nan, 5.0])}, [INF, 0.0, INF]),
        ("volume_missing", LIQUID, [True] * 3, ALL, {}, {"volume_lots": np.array([1.0, INF, -1.0])}, [INF, 0.0, 0.0]),
        ("share_of_volume", Limits(), [True] * 3, ALL, {}, VOLUME, None),
        ("share_of_volume", SHARE, [True] * 3, ALL, {}, VOLUME, [100.0, 50.0, 0.0]),
        ("share_of_volume", SHARE, [True] * 3, ALL, OPEN, VOLUME, [92.0, 40.0, 0.0]),
        ("liquidity", Limits(), [True] * 3, ALL, {}, VOLUME, None),
        ("liquidity", LIQUID, [True] * 3, ALL, {}, VOLUME, [990.0, 520.0, 0.0]),
        ("liquidity", LIQUID, [True, False, True], ALL, OPEN, VOLUME, [987.0, 474.0, 0.0]),
        ("liquidity", LIQUID, [True, False, True], ALL, {"up": OPEN["up"]}, VOLUME, [987.0, 480.0, 0.0]),
    ],
)  # fmt: skip
def test_a_cap_is_the_most_lots_that_may_be_added_or_none_where_these_keep_it(
    cap: str, limits: Limits, buys: list[bool], lots: np.ndarray, account: dict, market: dict, most: list[float] | None
) -> None:
    largest = most_of(cap, limits, buys, lots, account, dict(market))
    if most is None:
        assert (lots <= largest).all()
    else:
        assert largest == pytest.approx(most, rel=1e-9)


def test_collars_are_in_lowest_terms_and_compared_by_their_width() -> None:
    universe = Universe((Instrument("A", tick_nano=NANO // 100), Instrument("B", tick_nano=NANO // 4)))
    rules = Rules(Limits(), universe)
    assert rules.collars is rules.collars
    five, ten = (Rules(Limits(collar=width, reduce_collar=0.2), universe).collars for width in (0.05, 0.1))
    assert (five.adding.up, five.adding.down, five.adding.one) == (21, 19, 20)
    assert five.adding.narrower(ten.adding)
    assert not (ten.adding.narrower(five.adding))
    assert not (ten.adding.narrower(ten.adding))
    assert five.equals(five)
    assert not five.equals(ten)
    assert not five.equals(Rules(Limits(collar=0.05, reduce_collar=0.3), universe).collars)
    assert rules.widest_tick == NANO / 4


def test_sets_that_are_ready_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "_ready", {})  # what other tests made ready must not fill it here
    one, other = Limits(max_gross_exposure=1.0), Limits(max_gross_exposure=2.0)
    first, second = rules_of(one, UNIVERSE), rules_of(other, UNIVERSE)
    assert rules_of(one, UNIVERSE) is first
    assert rules_of(other, UNIVERSE) is second
    for k in range(rules_module._MOST_READY + 10):
        rules_of(Limits(max_gross_exposure=1.0 + k), UNIVERSE)
        assert len(rules_module._ready) <= rules_module._MOST_READY

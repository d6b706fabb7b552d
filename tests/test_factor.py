"""The common factor limit by limit: its edges to the last bit, what is breached already, and what is not looked at."""

from typing import Any

import numpy as np
import pytest

import quantd.risk.factor
from quantd.risk.factor import Factor, cap, common_factor
from quantd.risk.limits.case import SLACK, Account, Case, Extent
from quantd.risk.limits.catalogue import Correlation, Limits, Reason, Tail, override
from quantd.risk.limits.context import Scenarios
from quantd.risk.limits.kinds import Family
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.measures.portfolio import worst_of
from quantd.trading.instruments import NANO
from tests.support.risk_books import make_context, scenario_returns

EQUITY = 65_536.0
"""A power of two: fractions of it are exact."""
NEAR = SLACK * EQUITY
FREE = Limits(collar=0.0, reduce_collar=0.0, flatten_collar=0.0, fee_bp=0.0)


def beyond(value: float) -> float:
    return float(np.nextafter(value, np.inf))


class World:
    """A case of one extent, and what is asked of it."""

    def __init__(
        self, limits: Limits, y: Any, lots: Any, buys: Any = None, *, px: Any = None, held: Any = None,
        slip: Any = None,
        equity: float = EQUITY, before: float = EQUITY, cash_used: float = -1e9, traded: float = 0.0,
        settled: bool = False,
        returns: Any = None, sectors: list[str] | None = None, w: Any = None,
    ) -> None:  # fmt: skip
        self.lots = np.array(lots, dtype=float)
        n = len(self.lots)
        price = np.full(n, 1.0) if px is None else np.array(px)
        moves = scenario_returns(np.random.default_rng(3), n) if returns is None else returns
        names = [f"S{k:02}" for k in range(n)]
        # a price counts however small it is
        self.ctx = make_context(price, moves, names, sectors, prices_nano=np.full(n, NANO))
        both = np.array(y, dtype=float)
        self.extent = Extent(
            both if w is None else np.array(w, dtype=float), equity, before,
            np.zeros(n) if slip is None else np.array(slip), cash_used, traded, settled,
        )  # fmt: skip
        self.extent.y = both
        account = Account(lots=np.zeros(n) if held is None else np.array(held), cash=1e9, equity=EQUITY)
        side = np.ones(n, dtype=bool) if buys is None else np.array(buys)
        self.case = Case(self.ctx, account, rules_of(limits, self.ctx.universe), side, [self.extent])
        self.case.scenarios = {80: self.ctx.window(80, 60).all}

    def look(self, name: str, lots: Any = None) -> Factor:
        """What one kind of limits says."""
        asked = self.lots if lots is None else np.array(lots, dtype=float)
        least = Factor()
        slip = self.extent.reach(self.case, asked)[2]
        getattr(quantd.risk.factor, name)(self.case, self.extent, self.case.sides(asked), slip, asked, least)
        return least

    def said(self, name: str, lots: Any = None) -> tuple[float, list[float] | None]:
        least = self.look(name, lots)
        return least.value, None if least.most is None else least.most.tolist()

    def all(self) -> list[float]:
        return common_factor(self.case, self.lots, np.zeros(len(self.lots), np.int8)).tolist()


# ---- caps
# -------------------------------------------------------------------------------------------------------------


def test_lots_that_are_not_cut_are_the_very_same_so_that_what_was_made_of_them_holds() -> None:
    lots, reason = np.array([5.0, 0.0]), np.zeros(2, np.int8)
    assert cap(lots, np.array([5.0, -1.0]), Reason.GROSS, reason) is lots
    assert cap(lots, np.array([np.inf, np.nan]), Reason.GROSS, reason) is lots
    assert not reason.any()


def test_a_cap_leaves_whole_lots_and_a_hair_is_not_a_lot() -> None:
    for most, left in ((28.999999999999996, 29.0), (28.9999, 28.0), (0.0, 0.0), (-3.0, 0.0), (float("nan"), 0.0)):
        reason = np.zeros(3, np.int8)
        kept = cap(np.array([40.0, 0.0, 7.0]), np.array([most, most, 1e3]), Reason.GROSS, reason)
        assert kept.tolist() == [left, 0.0, 7.0]
        assert reason.tolist() == [Reason.GROSS, 0, 0]
    # a hair of very many is more than a lot
    assert cap(np.array([1e15]), np.array([1e15 - 1.0]), Reason.GROSS, np.zeros(1, np.int8)).tolist() == [1e15]


def test_lots_that_comply_come_back_as_they_were_asked_and_others_with_the_limit_that_cut_them() -> None:
    world = World(override(FREE, max_gross_exposure=0.5), np.zeros(6), [300.0, 0.0, 200.0])
    reason = np.zeros(3, np.int8)
    assert common_factor(world.case, world.lots, reason) is world.lots
    assert not reason.any()
    asked = np.array([49_152.0, 0.0, 16_384.0])
    assert common_factor(world.case, asked, reason).tolist() == [24_576.0, 0.0, 8_192.0]
    assert reason.tolist() == [Reason.GROSS, 0, Reason.GROSS]
    none = np.zeros(3)
    assert common_factor(world.case, none, reason) is none


# ---- rows and families
# --------------------------------------------------------------------------------------------------


def test_a_row_at_exactly_its_bound_is_not_over_and_one_a_bit_beyond_is() -> None:
    limits = override(FREE, max_turnover=0.75)
    bound = 0.75 * EQUITY + NEAR
    for traded, over in ((0.75 * EQUITY, []), (bound, []), (beyond(bound), [Reason.TURNOVER])):
        world = World(limits, np.zeros(4), [0.0, 0.0], traded=traded)
        rows = quantd.risk.factor._rows_over(world.case, world.extent, np.zeros(4), 0.0, 0.0)[1]
        assert [world.case.rules.rows[r].reason for r in rows] == over


def test_the_limit_that_came_first_is_the_one_to_name_where_two_cut_alike() -> None:
    least = Factor()
    for value, code in ((0.5, Reason.GROSS), (0.5, Reason.NET), (0.7, Reason.VAR)):
        least.take(value, code)
    assert (least.value, least.code) == (0.5, Reason.GROSS)


def test_equity_is_over_when_open_orders_or_the_weights_held_leave_none() -> None:
    for equity, slip, names, over in (
        (100.0, 99.0, 0.0, False), (100.0, 101.0, 0.0, True), (100.0, 50.0, 49.0, False), (100.0, 50.0, 51.0, True),
    ):  # fmt: skip
        limits = override(FREE, max_gross_exposure=9.0, max_net_exposure=9.0, max_turnover=9.0)
        world = World(limits, np.zeros(4), [0.0, 0.0], equity=equity)
        rows = quantd.risk.factor._rows_over(world.case, world.extent, np.zeros(4), slip, names)[1]
        assert (Reason.EQUITY in [world.case.rules.rows[r].reason for r in rows]) is over


def test_what_is_exactly_at_its_bound_lets_nothing_more_pass_and_what_is_beyond_refuses_only_what_adds_to_it() -> None:
    """Net long at 75 %: a sale passes where the limit is breached, and nothing of both where it is met."""
    limits = override(FREE, max_net_exposure=0.75)
    bound = 0.75 * EQUITY + NEAR
    for long, said in ((bound, (0.0, None)), (beyond(bound), (1.0, [0.0, np.inf]))):
        world = World(limits, [0.0, 0.0, long, 0.0], [10.0, 10.0], [True, False])
        assert world.said("_rows") == said
    world = World(limits, [0.0, 0.0, 1.1 * bound, 0.0], [10.0, 10.0], [True, False])
    assert world.all() == [0.0, 10.0]
    # what does not add to it passes, even alone
    assert world.said("_rows", [0.0, 10.0]) == (1.0, None)


def test_a_row_that_open_orders_bring_over_its_bound_does_not_stop_what_adds_nothing_to_it() -> None:
    limits = override(FREE, max_net_exposure=0.75)
    y = [0.0, 0.0, 0.7 * EQUITY, 0.0]
    world = World(limits, y, [0.0, 10.0], [True, False], equity=0.9 * EQUITY)
    assert world.all() == [0.0, 10.0]
    assert World(limits, y, [10.0, 10.0], [True, False], equity=0.9 * EQUITY).all() == [0.0, 0.0]
    # nor does it matter how little is added
    assert World(limits, y, [1.0, 10.0], [True, False], px=[0.5, 1.0], equity=0.9 * EQUITY).all() == [0.0, 0.0]


def test_equity_that_is_none_already_refuses_everything_and_weights_held_refuse_what_takes_from_it() -> None:
    world = World(FREE, np.zeros(4), [1.0, 0.0], slip=[0.01, 0.01], equity=-5.0, before=-5.0)
    assert world.said("_rows") == (1.0, [0.0, np.inf])
    world = World(override(FREE, max_position_weight=0.5), [0.0, 0.0, 0.5 * EQUITY, 0.0], [0.0, 9.0], slip=[0.5, 0.5])
    world.case.weights_keep = False
    assert world.look("_rows").code == Reason.EQUITY
    assert world.all() == [0.0, 0.0]


def looked(monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> list[Any]:
    """Calls of a method that is dear."""
    calls: list[Any] = []
    usual = getattr(of, name)

    def counted(self: Any, *given: Any) -> Any:
        calls.append(given)
        return usual(self, *given)

    monkeypatch.setattr(of, name, counted)
    return calls


def test_a_family_is_added_up_only_when_its_heaviest_could_bring_it_to_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three of a sector, of at most 48 in 64: 8 of each side of all three is exactly that."""
    calls = looked(monkeypatch, Family, "over")
    limits = override(FREE, max_sector_weight=0.75)
    most = 0.75 * EQUITY / 6
    for lots, times in ((most, 0), (most + 1.0, 1)):
        world = World(limits, np.zeros(8), [lots, 0.0, 0.0, 0.0], sectors=["x", "x", "x", "y"])
        calls.clear()
        assert world.said("_families") == (1.0, None)
        assert [call[1] for call in calls] == [0.75 * EQUITY + NEAR] * times


def test_a_label_is_over_when_its_sizes_add_up_to_more_than_the_bound_or_to_no_number() -> None:
    limits = override(FREE, max_sector_weight=0.5)
    family = World(limits, np.zeros(6), [0.0] * 3, sectors=["x", "", "y"]).case.rules.families[0]
    for sizes, over in (
        ([5.0, 9.0, 4.0], []), ([beyond(5.0), 9.0, 4.0], [1]), ([5.0, 0.0, 6.0], [2]),
        ([9.0, 0.0, float("nan")], [1, 2]),
    ):  # fmt: skip
        assert family.over(np.array(sizes), 5.0) == over


def test_a_family_at_exactly_its_bound_is_kept_and_counts_both_sides_of_what_may_fill() -> None:
    limits = override(FREE, max_sector_weight=0.5)
    bound, sectors = 0.5 * EQUITY + NEAR, ["x", "x", "y"]
    over = [0.0, 0.0, 0.0, beyond(bound), 0.0, 0.0]
    for y, held, lots, said in (
        ([0.0, 0.0, 0.0, bound, 0.0, 0.0], [bound, 0.0, 0.0], [0.0, 0.0, 9.0], (1.0, None)),
        ([0.0, 0.0, 0.0, bound, 0.0, 0.0], [bound, 0.0, 0.0], [0.0, 9.0, 9.0], (0.0, None)),
        # held beyond it, long or short, it stops what adds to it, and nothing else
        (over, [beyond(bound), 0.0, 0.0], [0.0, 9.0, 9.0], (1.0, [np.inf, 0.0, np.inf])),
        (over, [beyond(bound), 0.0, 0.0], [0.0, 0.0, 9.0], (1.0, None)),
        (np.roll(over, 3), [-beyond(bound), 0.0, 0.0], [0.0, 9.0, 9.0], (1.0, [np.inf, 0.0, np.inf])),
        # an open order that may bring it beyond stops all that counts on it
        (over, [bound, 0.0, 0.0], [0.0, 9.0, 9.0], (0.0, None)),
        (over, [0.0, 0.0, 9e9], [0.0, 9.0, 9.0], (0.0, None)),
        ([bound / 2, 0.0, 0.0, bound, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 9.0, 9.0], (0.0, None)),
        ([0.0, 0.0, 0.0, bound - 8.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 16.0, 9.0], (0.5, None)),
        ([0.0, 0.0, 0.0, bound - 8.0, 0.0, 0.0], [0.0, 0.0, 0.0], [16.0, 0.0, 9.0], (0.5, None)),
    ):
        world = World(limits, y, lots, [True, True, True], held=held, sectors=sectors)
        assert world.said("_families") == said, (y, held, lots)
    # a fraction of a currency is not nothing
    world = World(limits, [0.0, 0.0, 0.0, bound, 0.0, 0.0], [0.0, 1.0, 0.0], px=[1.0, 0.5, 1.0], sectors=sectors)
    assert world.said("_families") == (0.0, None)
    # equity that falls brings a family over its bound, but only what takes more of it is to blame
    y = [0.0, 0.0, 0.0, bound, 0.0, 0.0]
    for slip, value in (([0.0, 0.0, 0.0], 1.0), ([0.0, 0.0, 0.01], 0.0)):
        world = World(limits, y, [0.0, 0.0, 9.0], equity=0.9 * EQUITY, slip=slip, sectors=sectors)
        assert world.said("_families") == (value, None)


def test_leverage_is_breached_by_what_is_held_and_an_open_order_beyond_it_stops_what_takes_equity() -> None:
    """Long at most 125 %: a short sale adds nothing to what is long, and takes from equity."""
    limits, bound = override(FREE, max_leverage=1.25), 1.25 * EQUITY + NEAR
    for held, long, slip, said in (
        (bound, bound, 0.0, (1.0, None)),
        (bound, beyond(bound), 0.0, (1.0, None)),
        (bound, beyond(bound), 0.5, (0.0, None)),
        (beyond(bound), beyond(bound), 0.5, (1.0, None)),
    ):
        world = World(limits, [0.0, 0.0, long, 0.0], [0.0, 9.0], [True, False], held=[held, 0.0], slip=[slip, slip])
        assert world.said("_rows") == said, (held, long, slip)
    buys = World(limits, [0.0, 0.0, 2.0 * bound, 0.0], [9.0, 9.0], [True, False], held=[beyond(bound), 0.0])
    assert buys.said("_rows") == (1.0, [0.0, np.inf])


def test_equity_that_weights_need_is_the_least_at_which_those_that_comply_still_do() -> None:
    for seed in range(200):
        rng = np.random.default_rng((seed, 12))
        bounds = rng.uniform(0.1, 0.6, 2)
        in_flight, settled = float(rng.choice([0.0, 0.25])), bool(rng.random() < 0.5)
        limits = override(FREE, max_position_weight=bounds[0], max_concentration=bounds[1], in_flight=in_flight)
        y = rng.uniform(0.0, 0.5, 8) * EQUITY * (rng.random(8) < 0.5)
        before = EQUITY * float(rng.uniform(0.7, 1.1))
        lots = (y[4:] - y[:4]) * rng.choice([0.5, 1.0], 4)
        world = World(limits, y, [0.0] * 4, settled=settled, before=before, held=lots)
        held = y if settled else np.maximum(np.concatenate((-lots, lots)), 0.0)
        now = before if settled else EQUITY
        assert quantd.risk.factor._names_equity(world.case, world.extent, world.lots) == 0.0
        world.case.weights_keep = False
        need = quantd.risk.factor._names_equity(world.case, world.extent, world.lots)
        room = 1.0 if settled else 1.0 + in_flight
        kept = [(x, b * room) for b in bounds for x, h in zip(y, held, strict=True) if h <= b * room * now]
        assert all(x <= b * need * (1.0 + 1e-12) for x, b in kept)
        assert not need or any(x > b * need * (1.0 - 1e-9) for x, b in kept)
    for x, need in ((0.5 * EQUITY + NEAR, EQUITY + 2 * NEAR), (beyond(0.5 * EQUITY + NEAR), 0.0)):
        world = World(override(FREE, max_position_weight=0.5), [0.0, 0.0, x, 0.0], [0.0, 0.0], held=[x, 0.0])
        world.case.weights_keep = False
        assert quantd.risk.factor._names_equity(world.case, world.extent, world.lots) == pytest.approx(need, rel=1e-15)
        # an open order may make it so: then it asks for all the equity that takes
        world.case.account.lots = np.zeros(2)
        assert quantd.risk.factor._names_equity(world.case, world.extent, world.lots) == pytest.approx(
            2.0 * x, rel=1e-15
        )
    nothing = World(override(FREE, max_position_weight=0.0), np.zeros(4), [0.0, 0.0])
    nothing.case.weights_keep = False
    assert quantd.risk.factor._names_equity(nothing.case, nothing.extent, nothing.lots) == 0.0


# ---- tails
# ---------------------------------------------------------------------------------------------------------------

TWO = override(
    FREE, var=Tail(limit=1.0, confidence=0.9, lookback=80), cvar=Tail(limit=1.0, confidence=0.9, lookback=80)
)


def measured(world: World, key: str, exposures: Any) -> float:
    limit = next(t for t in world.case.rules.tails if t.key == key)
    scenarios, m = limit.of(world.case.scenarios)
    return float(limit.measure(worst_of(scenarios.losses(np.array(exposures)), m)))


def bound_of(value: float) -> float:
    """A fraction of equity that, with the tolerance, is a value to the last bit."""
    near = (value - NEAR) / EQUITY
    for _ in range(8):
        if near * EQUITY + NEAR == value:
            return float(near)
        near = np.nextafter(near, near + np.sign(value - NEAR - near * EQUITY) or 1.0)
    return float("nan")


def exact_tail(key: str) -> tuple[float, list[float]]:
    """A bound that some exposures meet to the last bit, and they."""
    for size in range(8_192, 9_000):
        y = [0.0, 0.0, 0.0, float(size), 0.0, 0.0]
        bound = bound_of(measured(World(TWO, y, [0.0] * 3), key, y))
        if bound == bound:
            return bound, y
    raise AssertionError


def tail_limits(key: str, bound: float) -> Limits:
    return override(FREE, **{key: Tail(limit=bound, confidence=0.9, lookback=80)})


@pytest.mark.parametrize("key", ["var", "cvar"])
def test_a_tail_at_exactly_its_bound_is_not_solved_for_and_one_beyond_is(key: str) -> None:
    bound, y = exact_tail(key)

    def solved(limits: Limits, asked: list[float]) -> int:
        world = World(limits, [0.0] * 6, asked)
        rules = Rules(limits, world.ctx.universe)
        calls: list[float] = []
        usual = rules.tails[0].largest

        def largest(*given: Any) -> float:
            calls.append(usual(*given))
            return calls[-1]

        rules.tails[0] = rules.tails[0]._replace(largest=largest)
        world.case.rules = rules
        world.look("_tails")
        return len(calls)

    assert solved(tail_limits(key, bound), y[3:]) == 0
    assert solved(tail_limits(key, bound * (1.0 - 1e-11)), y[3:]) == 1


@pytest.mark.parametrize("key", ["var", "cvar"])
def test_a_tail_met_exactly_by_what_is_held_lets_nothing_of_its_kind_pass_and_one_breached_caps_it(key: str) -> None:
    bound, y = exact_tail(key)
    for factor, most in ((1.0, None), (1.0 - 1e-11, [0.0, np.inf, np.inf])):
        world = World(tail_limits(key, bound * factor), y, [50.0, 0.0, 0.0], held=y[3:], w=np.array(y))
        value, capped = world.said("_tails")
        assert capped == most
        assert value == (1.0 if most else pytest.approx(0.0, abs=1e-9))


def test_a_tail_within_reach_is_not_looked_at_and_two_measures_of_one_look_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = looked(monkeypatch, Scenarios, "losses")
    asked = [8_192.0, 0.0, 0.0]
    world = World(TWO, [0.0] * 6, asked)
    scenarios = world.case.scenarios[80]
    reach = float(scenarios.reach(8).dot(np.array(asked))) / EQUITY
    for limit, times in ((reach, 0), (reach * (1.0 - 1e-12), 1), (reach / 1.2, 1)):
        world = World(tail_limits("cvar", limit), [0.0] * 6, asked)
        assert world.case.rules.tails[0].of({80: scenarios})[1] == 8
        calls.clear()
        assert world.said("_tails") == (1.0, None)
        assert len(calls) == times, limit
    both = override(
        FREE,
        var=Tail(limit=reach / 1.1, confidence=0.9, lookback=80),
        cvar=Tail(limit=reach / 1.2, confidence=0.9, lookback=80),
    )
    calls.clear()
    assert World(both, [0.0] * 6, asked).said("_tails") == (1.0, None)
    assert len(calls) == 1


def counted_up(world: World, key: str, k: int, held: float) -> float:
    """The most lots of one order that, alone, leave a measure as it is."""
    n = len(world.lots)
    limit = next(t for t in world.case.rules.tails if t.key == key)
    scenarios, m = limit.of(world.case.scenarios)
    side = k + n * int(world.case.buys[k])
    losses, lots = scenarios.losses(world.extent.w), 0.0
    own = np.zeros(2 * n)
    own[side] = world.ctx.px[k]
    gains = np.concatenate((np.maximum(scenarios.returns, 0.0), np.maximum(-scenarios.returns, 0.0)), axis=1) @ own
    while lots < world.lots[k] and float(limit.measure(worst_of(losses + (lots + 1.0) * gains, m))) <= held:
        lots += 1.0
    return lots


@pytest.mark.parametrize("key", ["var", "cvar"])
def test_of_a_tail_that_is_breached_each_order_gets_what_alone_leaves_it_as_it_is(key: str) -> None:
    some = 0
    for seed in range(80):
        rng = np.random.default_rng((seed, 13))
        returns = scenario_returns(rng, 3)
        # falls of one are mostly rises of another
        returns[:, 1] = -returns[:, 0] * rng.uniform(0.5, 1.0, 80)
        exposures = np.array([20_000.0, 0.0, 0.0])
        w = np.concatenate((-exposures, exposures))
        limits, px = tail_limits(key, 0.002), rng.uniform(20.0, 400.0, 3)
        world = World(
            limits, np.maximum(w, 0.0), np.floor(rng.uniform(0.0, 200.0, 3)), [True, True, False], px=px,
            held=exposures / px, w=w, returns=returns,
        )  # fmt: skip
        held = measured(world, key, w) + NEAR
        least = world.look("_tails")
        expected = [counted_up(world, key, k, held) for k in range(3)]
        kept = world.lots if least.most is None else cap(world.lots, least.most, Reason.VAR, np.zeros(3, np.int8))
        assert kept.tolist() == expected, seed
        some += 0.0 < expected[1] < world.lots[1]
    assert some > 5, some


def test_of_a_tail_that_is_breached_orders_that_leave_it_alone_may_not_make_it_larger_together() -> None:
    """Two that move as one against what is held: each fits, both do not."""
    rng = np.random.default_rng(17)
    returns = scenario_returns(rng, 3)
    returns[:, 1] = -returns[:, 0] * rng.uniform(0.5, 1.0, 80)
    returns[:, 2] = returns[:, 1]
    y = [0.0, 0.0, 0.0, 20_000.0, 0.0, 0.0]
    w = np.array([-20_000.0, 0.0, 0.0, 20_000.0, 0.0, 0.0])
    for key in ("var", "cvar"):
        world = World(tail_limits(key, 0.002), y, [0.0, 800.0, 0.0], px=[50.0] * 3, held=np.array(y[3:]) / 50.0, w=w,
                      returns=returns)  # fmt: skip
        alone = counted_up(world, key, 1, measured(world, key, w) + NEAR)
        assert 100.0 < alone < 800.0
        lots = [0.0, 0.75 * alone, 0.75 * alone]
        value, most = world.said("_tails", np.floor(lots))
        assert most is None
        assert value == pytest.approx(2.0 / 3.0, rel=0.01)
        assert world.look("_tails", np.floor(lots)).code == (Reason.VAR if key == "var" else Reason.CVAR)


def test_an_order_of_which_not_one_lot_leaves_a_breached_tail_alone_is_not_solved_for() -> None:
    y, limits = [0.0, 0.0, 0.0, 20_000.0, 0.0, 0.0], tail_limits("var", 0.002)
    rng = np.random.default_rng(17)
    returns = scenario_returns(rng, 3)
    returns[:, 1] = -returns[:, 0] * rng.uniform(0.5, 1.0, 80)
    world = World(limits, y, [90.0, 90.0, 0.0], held=y[3:], w=np.array([-20_000.0, 0, 0, *y[3:]]), returns=returns)
    rules, calls = Rules(limits, world.ctx.universe), []
    usual = rules.tails[0].largest
    rules.tails[0] = rules.tails[0]._replace(largest=lambda *given: calls.append(given) or usual(*given))
    world.case.rules = rules
    most = world.look("_tails").most
    assert most is not None
    assert most[0] == 0.0
    assert most[1] > 90.0
    assert len(calls) == 1
    # one lot is what it costs, a thousandth of a cent too
    held, w = np.array(y[3:]) / 1e-5, np.array([-20_000.0, 0, 0, *y[3:]])
    cheap = World(limits, y, [0.0, 90.0, 0.0], px=[1e-5] * 3, held=held, w=w, returns=returns)
    assert cheap.said("_tails") == (1.0, None)


# ---- forms
# -----------------------------------------------------------------------------------------------------------------


def form(world: World, exposures: np.ndarray, inner: np.ndarray) -> float:
    """The largest e'Ce of what may fill, entry by entry, by two loops over sides."""
    n, cov = len(world.lots), np.cov(world.case.scenarios[80].returns.T)
    total = 0.0
    for a in range(2 * n):
        for b in range(2 * n):
            like = (a < n) == (b < n)
            entry = cov[a % n, b % n]
            total += exposures[a] * exposures[b] * max(entry if like else -entry, 0.0)
            total -= inner[a] * inner[b] * max(-entry if like else entry, 0.0)
    return total


def drawn_form(seed: int) -> tuple[World, np.ndarray]:
    """A book with open orders on both sides, within its volatility, and orders on either side that bring it beyond;
    every other one in fractions of a cent."""
    rng = np.random.default_rng((seed, 14))
    n, long_only, scale = 3, seed % 3 == 0, 1.0 if seed % 2 else 2.0**-24
    held = rng.normal(0.0, 15_000.0, n) * (rng.random(n) < 0.7)
    buys = rng.random(n) < 0.5
    if long_only:
        held, buys = np.abs(held), np.ones(n, dtype=bool)
    up, down = rng.uniform(0.0, 8_000.0, (2, n)) * (rng.random((2, n)) < 0.3)
    if long_only:
        down = np.minimum(down, held)
    w = np.concatenate((down - held, held + up))
    y = np.maximum(w, 0.0)
    lots = np.floor(rng.uniform(1.0, 30_000.0, n)) * (rng.random(n) < 0.7)
    lots[int(rng.integers(n))] = 20_000.0
    slip = rng.choice([0.0, 0.001, 0.01]) * np.ones(n) * scale
    world = World(
        override(FREE, max_volatility=1.0, volatility_lookback=80), y * scale, lots, buys, held=held, w=w * scale,
        slip=slip, px=np.full(n, scale), equity=EQUITY * scale, returns=scenario_returns(rng, n),
    )  # fmt: skip
    world.case.account.equity *= scale
    world.case.tolerance *= scale
    w = world.extent.w
    # what is held at least on a side, unless an order against it takes it away
    added = world.case.sides(lots)
    return world, np.maximum(-np.roll(w, n), 0.0) * ~(np.roll(added, n) > 0.0)


def test_a_form_is_that_of_each_entry_at_its_worst_corner() -> None:
    for seed in range(150):
        world, inner = drawn_form(seed)
        added = world.case.sides(world.lots)
        spread = world.case.scenarios[80].sample
        product, reach, off = quantd.risk.factor._corners(world.case, world.extent, added, spread)
        y = world.extent.y
        none = np.zeros(6)
        assert y @ product - off == pytest.approx(form(world, y, inner), rel=1e-9, abs=1e-18)
        assert added @ reach == pytest.approx(form(world, added, none), rel=1e-9, abs=1e-18)
        both = y @ product - off + 2.0 * added @ product + added @ reach
        assert both == pytest.approx(form(world, y + added, inner), rel=1e-9, abs=1e-18)
        # of a book without shorts nothing is multiplied for them
        if seed % 3 == 0:
            assert not product[:3].any()
            assert not reach[:3].any()


def test_the_factor_of_a_form_is_the_largest_that_keeps_it_as_equity_falls() -> None:
    cut = 0
    for seed in range(150):
        world, inner = drawn_form(seed)
        added, slip = world.case.sides(world.lots), world.extent.slip @ world.lots
        y = world.extent.y

        def risky(f: float, of: Any = (world, y, added, inner)) -> float:
            return float(np.sqrt(252.0 * max(form(of[0], of[1] + f * of[2], of[3]), 0.0)))

        # between what is there before and after the orders
        equity = world.extent.equity
        bound = (0.4 * risky(0.0) + 0.6 * risky(1.0)) / equity
        world.case.rules = Rules(override(FREE, max_volatility=bound, volatility_lookback=80), world.ctx.universe)
        least = world.look("_quads")
        assert least.most is None
        f = least.value
        assert risky(f) <= bound * (equity - f * slip) * (1.0 + 1e-9), seed
        if f < 1.0:
            cut += 1
            assert least.code == Reason.VOLATILITY
            assert risky(f + 1e-6) > bound * (equity - (f + 1e-6) * slip), seed
    assert cut > 100


def test_a_form_that_open_orders_bring_beyond_its_bound_lets_nothing_pass() -> None:
    """Held within it; what is open may bring it beyond, or equity below nothing."""
    limits = override(FREE, max_herfindahl=0.25)
    for y, equity in (([0.0, 0.0, 40_000.0, 0.0], EQUITY), ([0.0, 0.0, 20_000.0, 0.0], -100_000.0)):
        world = World(limits, y, [0.0, 50.0], held=[20_000.0, 0.0], equity=equity)
        assert world.said("_quads") == (0.0, None)
        assert world.look("_quads").code == Reason.HERFINDAHL


def test_a_form_at_exactly_its_bound_is_kept_and_one_breached_refuses_what_adds_to_it() -> None:
    """Half of equity in one name is a Herfindahl index of a quarter."""
    limits, bound = override(FREE, max_herfindahl=0.25), 0.5 * EQUITY + NEAR
    root = float(np.sqrt(bound * bound))
    assert root == bound
    for x, said in ((bound, (1.0, None)), (beyond(bound), (0.0, None))):
        assert World(limits, [0.0, 0.0, 0.0, 0.0], [1.0, 0.0], px=[x, 1.0]).look("_quads").value == pytest.approx(
            1.0, rel=1e-12
        )
        held = World(limits, [0.0, 0.0, x, 0.0], [0.0, 0.0], held=[x, 0.0])
        assert held.said("_quads")[1] is None, said
    for x, capped in ((bound - NEAR, False), (bound, False), (bound * (1.0 + 1e-11), True)):
        world = World(limits, [0.0, 0.0, x, 0.0], [9.0, 9.0], held=[x, 0.0])
        least = world.look("_quads")
        assert (least.most is not None) is capped
        if capped:
            assert least.most is not None
            assert least.most.tolist() == [0.0, 0.0]
        else:
            assert least.value < 1e-6


def test_a_form_breached_already_refuses_all_that_moves_and_not_what_never_does() -> None:
    returns = scenario_returns(np.random.default_rng(3), 3)
    returns[:, 2] = 0.0
    limits = override(FREE, max_volatility=0.01, volatility_lookback=80)
    y = [0.0, 0.0, 0.0, 50_000.0, 0.0, 0.0]
    world = World(limits, y, [9.0, 1.0, 9.0], held=y[3:], returns=returns)
    assert world.said("_quads") == (1.0, [0.0, 0.0, np.inf])
    assert world.all() == [0.0, 0.0, 9.0]
    # nothing to refuse where nothing that is asked moves
    assert world.said("_quads", [0.0, 0.0, 9.0]) == (1.0, None)
    # and the next form still counts it
    both = World(override(limits, max_herfindahl=0.6), y, [0.0, 0.0, 20_000.0], held=y[3:], returns=returns)
    least = both.look("_quads")
    assert (least.most, least.code) == (None, Reason.HERFINDAHL)
    assert least.value == pytest.approx(np.sqrt(0.6 * EQUITY**2 - 50_000.0**2) / 20_000.0, rel=1e-6)


def test_the_sum_of_deviations_decides_before_any_covariance_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    usual = quantd.risk.factor._corners
    monkeypatch.setattr(quantd.risk.factor, "_corners", lambda *given: calls.append(1) or usual(*given))
    asked = np.array([4_096.0, 2_048.0, 0.0])
    world = World(FREE, [0.0] * 6, asked)
    crude = float(world.case.scenarios[80].deviation().dot(asked))
    for factor, times in ((1.0, 0), (1.0 - 1e-8, 1), (0.999, 1)):
        bound = factor * crude * np.sqrt(252.0) / EQUITY
        limited = World(override(FREE, max_volatility=bound, volatility_lookback=80), [0.0] * 6, asked)
        calls.clear()
        assert limited.said("_quads") == (1.0, None)
        assert len(calls) == times


def test_a_form_that_complies_is_asked_neither_whether_it_is_breached_nor_for_a_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    usual = quantd.risk.factor._breach
    monkeypatch.setattr(quantd.risk.factor, "_breach", lambda *given: calls.append(1) or usual(*given))
    limits, bound = override(FREE, max_herfindahl=0.25), 0.5 * EQUITY + NEAR
    for y, lots, equity, times in (
        ([0.0, 0.0, 20_000.0, 0.0], [12_000.0, 0.0], EQUITY, 0),
        ([0.0, 0.0, bound, 0.0], [0.0, 0.0], EQUITY, 0),
        ([0.0, 0.0, beyond(bound), 0.0], [0.0, 0.0], EQUITY, 1),
        ([0.0, 0.0, 0.25, 0.0], [0.0, 0.0], 1.0, 0),
        ([0.0, 0.0, 0.25, 0.0], [0.0, 0.0], -1.0, 1),
    ):
        calls.clear()
        World(limits, y, lots, equity=equity).look("_quads")
        assert len(calls) == times, (y, lots)


def test_limits_of_each_kind_are_looked_at_on_the_way_and_at_the_end_until_one_is_breached() -> None:
    """The way is free; at the end the book is over its gross exposure, or its sector, tail or form."""
    pair = Correlation(threshold=0.9, joint_weight=0.5, min_weight=0.1, lookback=80)
    for limits in (
        override(FREE, max_gross_exposure=0.5), override(FREE, max_sector_weight=0.5),
        override(FREE, max_herfindahl=0.25), tail_limits("var", 0.001),
        override(FREE, max_herfindahl=0.25, correlation=pair),
    ):  # fmt: skip
        world = World(limits, np.zeros(6), [9.0, 0.0, 0.0], sectors=["x", "x", "x"])
        assert world.all() == [9.0, 0.0, 0.0]
        y = np.array([0.0, 0.0, 0.0, 60_000.0, 0.0, 0.0])
        end = World(limits, y, [9.0, 0.0, 0.0], held=y[3:], settled=True, sectors=["x", "x", "x"])
        world.case.extents.append(end.extent)
        assert world.all() == [0.0, 0.0, 0.0]

"""The kernel of the gate: the same bits interpreted and compiled, and each array made when it is needed."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from quantd.trading.jit import LOOPS

from quantd.daemon.engine.batches import gate_kernel as kernel
from quantd.risk.limits.catalogue import Correlation, Limits, Reason, Tail, override
from quantd.risk.limits.context import Context, Scenarios
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.pretrade import gate as gate_module
from quantd.risk.pretrade.gate import Account, gate
from tests.daemon.engine.batches.kernel_gate import kernel_pass
from tests.risk.pretrade.test_gate_table import KINDS
from tests.support.risk_books import make_context, scenario_returns

RNG = np.random.default_rng(8)
ROW, OTHER = RNG.normal(size=97), RNG.normal(size=97)
TIES = np.round(ROW, 1) + 0.0
RETURNS = RNG.normal(size=(7, 40))
COEFFICIENTS = RNG.normal(size=7) * np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
WIDTHS = np.abs(RNG.normal(size=7)) * np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0])
MATRIX = RNG.normal(size=(14, 7))
SIDES = np.abs(RNG.normal(size=(3, 14))) * (RNG.random((3, 14)) < 0.7)
LONG = SIDES * (np.arange(14) >= 7)

CALLS: dict[str, tuple[Any, ...]] = {
    "copy": (np.empty(97), ROW),
    "sum_above": (ROW, 0.3),
    "dot": (ROW, OTHER),
    "nth": (ROW, np.empty(97), 90),
    "nth of equal ones": (TIES, np.empty(97), 50),
    "sum_worst": (OTHER, ROW, float(np.sort(ROW)[92]), 5),
    "sum_worst of equal ones": (OTHER, TIES, float(np.sort(TIES)[80]), 17),
    "factors": (np.empty(97), ROW, OTHER, 0.5, 0.1),
    "losses": (np.empty(30), RETURNS, 5, COEFFICIENTS, WIDTHS),
    "losses of one scenario": (np.empty(1), RETURNS[:, :1].copy(), 0, COEFFICIENTS, WIDTHS),
    "corners": (np.empty((6, 9)), MATRIX, 7, *SIDES, 1),
    "corners of a long book": (np.zeros((6, 7)), MATRIX, 0, *LONG, 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_vector_function_and_its_loop_give_the_same_bits(name: str) -> None:
    function = getattr(kernel, name.split(" ", maxsplit=1)[0])
    own, other = [[a.copy() if isinstance(a, np.ndarray) else a for a in CALLS[name]] for _ in range(2)]
    found, looped = function(*own), LOOPS[function](*other)
    assert (found is None) == (looped is None)
    assert found is None or np.float64(found).tobytes() == np.float64(looped).tobytes()
    for mine, theirs in zip(own, other, strict=True):
        if isinstance(mine, np.ndarray) and "nth" not in name:
            size = 7 if "corners" in name else mine.shape[-1]
            assert np.array_equal(mine[..., :size], theirs[..., :size])


def test_every_vector_function_of_the_kernel_is_compared_with_its_loop() -> None:
    own = {function.__name__ for function in LOOPS if function.__module__ == kernel.__name__}
    assert own == {name.split(" ", maxsplit=1)[0] for name in CALLS}


def test_symbols_are_in_order_of_value_then_of_name() -> None:
    rng = np.random.default_rng(1)
    for n in range(1, 30):
        size, px, names = rng.integers(1, 4, n) * 1.0, rng.integers(1, 3, n) * 1.0, rng.permutation(n)
        work = np.zeros(kernel.BASE + 23 * n)
        work[kernel.BASE + kernel.SIZE * n :][:n] = size
        order = work[kernel.BASE + kernel.ORDER * n :][:n]
        order[:] = rng.permutation(n)
        kernel.sort_by_value(n, n, 0, work, np.concatenate((np.zeros(kernel.HEAD), px)), names)
        assert order.astype(int).tolist() == sorted(range(n), key=lambda k: (-size[k] * px[k], names[k]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_decides_as_the_gate_does_to_the_bit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, count = KINDS[kind]
    cut = 0
    for seed in range(0, count, 3):
        found = []
        for each in (gate_module._pass, kernel_pass):
            book = make(seed)
            with monkeypatch.context() as patch, np.errstate(all="ignore"):
                patch.setattr(gate_module, "_pass", each)
                verdict = gate(book.ctx, book.account, book.asked, book.limits)
            found.append((verdict.lots.tobytes(), verdict.reason.tobytes()))
        assert found[0] == found[1], seed
        cut += any(found[0][1])
    assert cut > count // 20


def test_a_normal_book_has_no_value_at_risk_in_the_better_half() -> None:
    """The quantile of the bound is 0: the limit never cuts, and nothing is divided by it."""
    ctx = make_context(np.array([100.0, 50.0]), scenario_returns(np.random.default_rng(5), 2), ["A", "B"])
    book = Account(lots=np.zeros(2), cash=1e5, equity=1e5)
    half = Limits(var=Tail(limit=0.001, confidence=0.5, method="parametric", lookback=80))
    assert gate(ctx, book, np.array([300.0, 400.0]), half).lots.tolist() == [300.0, 400.0]


@pytest.mark.parametrize("kind", ["drawn", "loose", "mostly long"])
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_the_unit_of_money_changes_no_verdict(kind: str, unit: float) -> None:
    """No amount is compared with a constant: every sum of money is multiplied by a power of two, which is exact."""
    make, count = KINDS[kind]
    passed = 0
    for seed in range(0, count, 2):
        book = make(seed)
        ctx, own = book.ctx, book.account
        expected = gate(ctx, own, book.asked, book.limits)
        ctx = Context(
            px=ctx.px * unit, prices_nano=ctx.prices_nano, age_ns=ctx.age_ns, volume_lots=ctx.volume_lots,
            returns=lambda k, returns=book.returns: returns[-k:], universe=ctx.universe,
        )  # fmt: skip
        money = ("cash", "equity", "up_cash", "open_loss", "open_gain", "traded")
        scaled = {name: None if getattr(own, name) is None else getattr(own, name) * unit for name in money}
        most = book.limits.max_order_notional
        limits = override(book.limits, max_order_notional=None if most is None else most * unit)
        verdict = gate(ctx, replace(own, **scaled), book.asked, limits)
        assert (verdict.lots.tolist(), verdict.reason.tolist()) == (expected.lots.tolist(), expected.reason.tolist())
        passed += int(np.count_nonzero(verdict.lots))
    assert passed > count // 4


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_open_orders_on_both_sides_take_from_the_share_of_volume(side: float) -> None:
    """100 lots a day, of which a fifth: 3 are open on one side and 5 on the other."""
    names = ["A", "B"]
    ctx = make_context(
        np.full(2, 10.0), scenario_returns(np.random.default_rng(5), 2), names, volume_lots=np.full(2, 100.0)
    )
    book = Account(
        lots=np.array([side * 50.0, 0.0]), cash=1e5 - side * 500.0, equity=1e5, up=np.array([3.0, 0.0]),
        down=np.array([5.0, 0.0]), up_cash=31.0,
    )  # fmt: skip
    verdict = gate(ctx, book, np.array([side * 30.0, side * 30.0]), Limits(max_share_of_volume=0.2, allow_short=True))
    assert verdict.lots.tolist() == [side * 12.0, side * 20.0]
    assert verdict.reason.tolist() == [Reason.SHARE_OF_VOLUME] * 2


def linked_pairs() -> Any:
    """300 symbols, of which the odd ones move as the ones before do."""
    returns = scenario_returns(np.random.default_rng(5), 300)
    returns[:, 1::2] = returns[:, ::2]
    return make_context(np.full(300, 10.0), returns, [f"S{k}" for k in range(300)])


PAIRS = Limits(
    correlation=Correlation(threshold=0.95, joint_weight=0.1, lookback=80), max_cash_debit=2.0, allow_short=True
)


@pytest.mark.parametrize("sides", [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)])
def test_a_correlation_that_is_not_a_number_links_both_sides(
    monkeypatch: pytest.MonkeyPatch, sides: tuple[float, float]
) -> None:
    """600 lots of each weigh 6 % of the equity, of which a pair may weigh 10 %, or one of it 5 %."""
    book, asked = Account(lots=np.zeros(300), cash=1e5, equity=1e5), np.zeros(300)
    asked[[1, 2]] = np.array(sides) * 600.0
    assert not gate(linked_pairs(), book, asked, PAIRS).reason.any()
    monkeypatch.setattr(Scenarios, "correlation", lambda _, columns: np.full((len(columns), len(columns)), np.nan))
    verdict = gate(linked_pairs(), book, asked, PAIRS)
    assert np.flatnonzero(verdict.reason).tolist() == [2]
    assert 490 < abs(verdict.lots[2]) <= 500


def test_links_that_an_earlier_basket_did_not_need_are_asked_for() -> None:
    ctx, book = linked_pairs(), Account(lots=np.zeros(300), cash=1e5, equity=1e5)
    for one in (0, 2, 0):
        asked = np.zeros(300)
        asked[[one, one + 1, 5]] = 600.0
        again, fresh = (gate(each, book, asked, PAIRS) for each in (ctx, linked_pairs()))
        assert again.lots.tolist() == fresh.lots.tolist()
        assert np.flatnonzero(again.reason).tolist() == [one + 1]


def test_the_least_equity_of_pairs_is_that_of_the_worst_pair_that_complies_or_grows() -> None:
    """A pair complies where the smaller one weighs the least weight at most, or both the joint weight."""
    raised = sum(_pairs_need_more_than_is_left(np.random.default_rng(seed)) for seed in range(600))
    assert raised > 100


def _pairs_need_more_than_is_left(rng: np.random.Generator) -> bool:
    """Compares one book; returns whether a pair asks for more equity than is left."""
    n = 4
    e, wider, near = int(rng.integers(2)), float(rng.choice([1.0, 1.5])), float(rng.choice([0.0, 2.0]))
    least, joint = float(rng.choice([0.0, 0.0625])), float(rng.choice([0.125, 0.25]))
    now, left = float(rng.choice([64, 72, 96, 112, 126, 128])), float(rng.integers(60, 100))
    held = rng.choice([0.0, 3.0, 6.0, 8.0, 12.0, 16.0], n) * rng.choice([-1.0, 1.0], n)
    largest = np.concatenate((-held, held)).clip(0.0) + rng.choice([0.0, 0.0, 2.0, 9.0], 2 * n)
    links = np.zeros((n, n))
    for a in range(n):
        for b in range(a):
            links[a, b] = links[b, a] = rng.choice([0.0, 1.0, -1.0, 2.0, 3.0], p=[0.25, 0.35, 0.3, 0.05, 0.05])
    work = np.full(kernel.BASE + 23 * n, np.nan)
    work[e * kernel.STATE + kernel.WIDER], work[e * kernel.STATE + kernel.LEFT] = wider, left
    work[e * kernel.STATE + kernel.NOW], work[kernel.TOLERANCE] = now, near
    work[kernel.BASE + kernel.OUTER * n + 2 * n * e :][: 2 * n] = largest
    work[kernel.BASE + (kernel.LOTS * n if e == 0 else (kernel.RANGE + 3) * n) :][:n] = held
    market, numbers = np.ones(kernel.HEAD + n), np.zeros(kernel.NUMBERS)
    numbers[kernel.N_LEAST], numbers[kernel.N_JOINT] = least, joint
    out = np.full(n, np.nan)
    found = kernel.pair_equity(n, e, work, market, numbers, links.ravel(), out)

    least, joint = least * wider, joint * wider
    present = np.concatenate((-held, held)).clip(0.0)
    seen = [side for side in range(2 * n) if largest[side] > least * left]
    need, unknown = left, False
    for one in seen:
        for other in seen:
            link = links[one % n, other % n]
            unknown |= link == 3.0
            if one == other or not (link == 2.0 or (link == 1.0 and one // n == other // n) or
                                    (link == -1.0 and one // n != other // n)):  # fmt: skip
                continue

            def equity(small: float, whole: float) -> tuple[float, float]:
                return (small / least if least else np.inf if small else 0.0), whole / joint

            smaller, both = equity(min(present[one], present[other]), present[one] + present[other])
            grows = (largest > present + near)[[one, other]].any()
            if grows or min(smaller, both) <= now + near:
                need = max(need, min(equity(min(largest[one], largest[other]), largest[one] + largest[other])))
    if unknown:
        assert found == -1.0
        assert np.flatnonzero(out).tolist() == sorted({side % n for side in seen})
    else:
        assert max(found, left) == pytest.approx(need)
    return not unknown and need > left


@pytest.mark.parametrize("kind", ["drawn", "mostly long"])
def test_coefficients_that_are_equal_decide_as_one_does(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    make, count = KINDS[kind]
    cut = 0
    for seed in range(0, count, 2):
        book = make(seed)
        expected = gate(book.ctx, book.account, book.asked, book.limits)
        book = make(seed)
        rules = rules_of(book.limits, book.ctx.universe)
        rules.prepared = None
        gate_module._prepared(rules)
        for row in rules.prepared.bounds.rows:
            row.by_symbol = True
        verdict = gate(book.ctx, book.account, book.asked, book.limits)
        assert (verdict.lots.tolist(), verdict.reason.tolist()) == (expected.lots.tolist(), expected.reason.tolist())
        by_symbol = {row.reason for row in rules.rows} - {Reason.CASH}
        cut += bool(by_symbol & set(verdict.reason.tolist()))
    assert cut > 5

"""The kernel of the gate: the same bits interpreted and compiled, and each array made when it is needed."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.risk.pretrade import kernel
from quantd.risk.pretrade.gate import Account, gate
from quantd.trading.jit import LOOPS
from tests.support.checkout import ROOT, environment
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


COMPILED = """
import sys
import numpy as np
from quantd.daemon.assembly.compiler import compile_kernels, interpret_kernels
from quantd.risk.pretrade import gate as module
from quantd.risk.pretrade.kernel import JUDGE
from tests.risk.pretrade.test_gate_table import KINDS

def verdicts():
    for make, count in KINDS.values():
        for seed in range(0, count, 2):
            book = make(seed)
            with np.errstate(all="ignore"):
                verdict = module.gate(book.ctx, book.account, book.asked, book.limits)
            yield verdict.lots.tobytes() + verdict.reason.tobytes()

interpreted = list(verdicts())
if reason := compile_kernels(wait=True):
    sys.exit(reason)
compiled = list(verdicts())
assert len(JUDGE.run.signatures) == 1, JUDGE.run.signatures
assert compiled == interpreted
interpret_kernels()
"""


@pytest.mark.long
def test_the_compiled_gate_says_what_the_interpreted_one_says_to_the_bit_for_one_signature() -> None:
    pytest.importorskip("numba")
    command = [sys.executable, "-c", COMPILED]
    variables = environment(ROOT)
    variables["PYTHONPATH"] += f":{ROOT}"
    done = subprocess.run(command, env=variables, cwd=ROOT, text=True, capture_output=True, timeout=400)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_normal_book_has_no_value_at_risk_in_the_better_half() -> None:
    """The quantile of the bound is 0: the limit never cuts, and nothing is divided by it."""
    ctx = make_context(np.array([100.0, 50.0]), scenario_returns(np.random.default_rng(5), 2), ["A", "B"])
    book = Account(lots=np.zeros(2), cash=1e5, equity=1e5)
    half = Limits(var=Tail(limit=0.001, confidence=0.5, method="parametric", lookback=80))
    assert gate(ctx, book, np.array([300.0, 400.0]), half).lots.tolist() == [300.0, 400.0]


def test_returns_matrices_and_links_are_made_once_and_where_they_are_needed() -> None:
    n = 300  # beyond what is put by symbol at once
    returns = scenario_returns(np.random.default_rng(5), n)
    ctx = make_context(np.full(n, 100.0), returns, [f"S{k}" for k in range(n)])
    book = Account(lots=np.zeros(n), cash=1e7, equity=1e7)
    limits = Limits(
        max_volatility=0.1, volatility_lookback=80, cvar=Tail(limit=0.02, lookback=80),
        correlation=Correlation(threshold=0.0, joint_weight=0.1, lookback=80),
    )  # fmt: skip
    gate(ctx, book, np.full(n, 1.0), limits)
    ((_, market),) = ctx.ready.values()
    assert (market.returns.size, market.matrices.size, market.links.size) == (1, 1, 1)
    verdict = gate(ctx, book, np.where(np.arange(n) < 4, 20_000.0, 0.0), limits)
    assert 0 < np.count_nonzero(verdict.lots) < 5
    assert verdict.reason.any()
    made = market.returns, market.matrices, market.links
    assert [each.size for each in made] == [80 * n, n * n, n * n]
    gate(ctx, book, np.where(np.arange(n) < 4, 20_000.0, 0.0), limits)
    again = market.returns, market.matrices, market.links
    assert all(one is other for one, other in zip(again, made, strict=True))

"""Constraints from the configuration: they hold by name, in fractions of the book, and are never given up."""

import subprocess
import sys

import numpy as np
import pytest

from quantd.strategies.policies import POLICIES, ParamsError
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.view import Hold, Noted, View
from tests.strategies.policies.policy_views import LOOKBACK, market

UNIVERSE = Universe(
    tuple(Instrument(s, sector=sector) for s, sector in zip("ABCDEF", ("x", "x", "y", "y", "z", ""), strict=True)),
    groups=(("front", ("A", "B", "C")), ("pair", ("C", "D"))),
)


def asked(name: str, constraints: dict[str, object], held: float = 1.0 / 6.0, **params: object) -> object:
    prices = 100.0 * np.cumprod(1.001 + np.diff(np.log(market(3, 6)), axis=0), axis=0)
    ring = Ring(6, LOOKBACK)
    for row in prices:
        ring.append(row)
    view = View(
        universe=UNIVERSE, ring=ring, prices=prices[-1], weights=np.full(6, held), cash=1.0 - 6.0 * held,
        equity=1e5, time=1, sample_time=1,
    )  # fmt: skip
    policy = POLICIES[name]({"lookback": LOOKBACK, "constraints": constraints, **params})
    assert policy.worker  # type: ignore[attr-defined]
    return policy.act(view, {})[0]


NAMES = ["min_variance", "max_sharpe", "mean_variance", "min_cvar", "max_diversification"]


@pytest.mark.requirement("R-078")
@pytest.mark.parametrize("name", NAMES)
def test_group_sector_and_turnover_limits_hold_as_fractions_of_the_book(name: str) -> None:
    w = asked(
        name,
        {"groups": {"front": 0.3, "pair": 0.25}, "max_sector": 0.32, "max_turnover": 0.6},
        held=0.15,
        invested=0.9,
        max_weight=0.5,
    )
    assert isinstance(w, np.ndarray)
    assert w.sum() == pytest.approx(0.9)
    assert w[:3].sum() <= 0.3 + 1e-4
    assert w[2:4].sum() <= 0.25 + 1e-4
    for sector in ([0, 1], [2, 3], [4]):
        assert w[sector].sum() <= 0.32 + 1e-4
    assert np.abs(w - 0.15).sum() <= 0.6 + 1e-3
    assert w.max() <= 0.5 + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_each_constraint_changes_the_answer(name: str) -> None:
    free = np.asarray(asked(name, {}))
    for constraints in ({"groups": {"front": 0.05}}, {"max_sector": 0.15}, {"max_turnover": 0.05}):
        w = asked(name, constraints)
        assert isinstance(w, np.ndarray), (constraints, getattr(w, "note", ""))
        assert np.abs(w - free).max() > 1e-3, constraints


def test_what_cash_is_left_buys_does_not_count_as_turnover() -> None:
    w = asked("min_variance", {"max_turnover": 0.01}, held=0.0)
    assert isinstance(w, np.ndarray)
    assert w.sum() == pytest.approx(1.0)


def test_where_no_portfolio_meets_them_the_book_is_held_and_it_is_said() -> None:
    given = asked("min_variance", {"groups": {"front": 0.1, "pair": 0.1}, "max_sector": 0.05}, max_weight=0.4)
    assert isinstance(given, Noted)
    assert given.note == "minimum variance: no portfolio was found that meets every constraint; the book is held"
    assert given.warns
    assert isinstance(given.weights, Hold)


def test_a_cvar_that_can_be_had_is_kept_and_one_that_cannot_is_said() -> None:
    assert isinstance(asked("max_sharpe", {"max_cvar": 0.9}), np.ndarray)
    assert isinstance(asked("max_sharpe", {"max_cvar": 1e-6}), Noted)


def test_names_that_are_not_there_are_refused_in_words() -> None:
    with pytest.raises(ParamsError, match=r"no group 'fron' in .*did you mean 'front'"):
        asked("min_variance", {"groups": {"fron": 0.3}})
    with pytest.raises(ParamsError, match="unknown field"):
        POLICIES["min_variance"]({"constraints": {"sector": 0.3}})
    with pytest.raises(ParamsError, match="cannot be solved under max_cvar"):
        POLICIES["max_diversification"]({"constraints": {"max_cvar": 0.3}})
    with pytest.raises(ParamsError, match="cvar_confidence"):
        POLICIES["min_cvar"]({"confidence": 0.9, "constraints": {}})
    with pytest.raises(ParamsError, match="hrp has no parameter"):
        POLICIES["hrp"]({"constraints": {}})


def test_nothing_heavy_is_imported_before_something_is_solved() -> None:
    code = (
        "import sys; from quantd.strategies.policies import POLICIES; POLICIES['min_variance']({'constraints': {}}); "
        "print(any(name in sys.modules for name in ('skfolio', 'cvxpy', 'sklearn', 'pandas')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_constraints_no_worker_is_asked_for() -> None:
    assert not POLICIES["min_variance"]({}).worker  # type: ignore[attr-defined]

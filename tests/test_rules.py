"""The closed forms against bisection, and every limit of the tables read from its key."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.limits import Limits, Reason, Tail
from risk.measures import historical_cvar, historical_var, tail_count
from risk.rules import CAPS, FAMILIES, QUADS, ROWS, TAILS, Rules, cvar_largest, rules_of, var_largest
from trading.instruments import Instrument, Universe

UNIVERSE = Universe((Instrument("A", sector="x"), Instrument("B", asset="A")), groups=(("all", ("A", "B")),))


@pytest.mark.parametrize(("largest", "measure"), [(var_largest, historical_var), (cvar_largest, historical_cvar)])
@settings(max_examples=120, deadline=None)
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


def test_a_tail_that_is_beyond_its_target_already_gives_nothing() -> None:
    base, adding = np.arange(20.0), np.ones(20)
    assert var_largest(base, adding, 1, 5.0, 0.0) <= 0.0
    assert cvar_largest(base, adding, 2, 5.0, 0.0) == 0.0


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
    assert not bare.tails
    assert not bare.quads
    assert len(ROWS) == 6
    assert len(FAMILIES) == 3
    assert set(TAILS) == {"var", "cvar"}
    assert len(QUADS) == 3
    assert len({reason for reason, _ in CAPS}) == len(CAPS)
    assert Reason.POSITION_WEIGHT in {reason for reason, _ in CAPS}


def test_a_set_of_limits_is_made_ready_once() -> None:
    limits = Limits(max_gross_exposure=1.0)
    assert rules_of(limits, UNIVERSE) is rules_of(limits, UNIVERSE)
    assert rules_of(Limits(max_gross_exposure=1.0), UNIVERSE).limits is not limits

"""What can be set: nothing that cannot be meant, and the tightest of two sets is the tightest."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.gate import Account, gate
from risk.limits import PROFILES, Correlation, Limits, Liquidity, Protective, Rate, Tail, override, tightest
from tests.risk_cases import random_book

TABLES = {
    "var",
    "cvar",
    "correlation",
    "order_rate",
    "liquidity",
    "protective",
    "group_caps",
    "allow_short",
    "restricted",
}
NUMBERS = [name for name in Limits.__struct_fields__ if name not in TABLES]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1])
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tail(limit=float("nan")),
        lambda: Tail(limit=0.02, confidence=1.0),
        lambda: Tail(limit=0.02, horizon=0),
        lambda: Correlation(threshold=1.5),
        lambda: Rate(orders=0),
        lambda: Liquidity(days=float("nan")),
        lambda: Liquidity(days=1.0, participation=2.0),
        lambda: Protective(stop_loss=-0.1),
        lambda: Protective(take_profit=float("inf")),
        lambda: Limits(group_caps=(("one", float("nan")),)),
        lambda: Limits(var=Tail(limit=0.02, lookback=59)),
        lambda: Limits(max_volatility=0.2, volatility_lookback=30),
        lambda: Limits(max_drawdown=15.0),
    ],
)
def test_a_measure_that_cannot_work_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must|shorter"):
        make()  # type: ignore[operator]


def test_explicit_keys_go_over_a_profile_and_none_turns_a_limit_off() -> None:
    own = override(PROFILES["balanced"], max_position_weight=0.5, var=None)
    assert own.max_position_weight == 0.5
    assert own.var is None
    assert own.cvar == PROFILES["balanced"].cvar
    with pytest.raises(TypeError, match="Did you mean max_drawdown"):
        override(Limits(), max_drawdwon=0.1)
    with pytest.raises(ValueError, match="max_drawdown"):
        override(Limits(), max_drawdown=float("nan"))


def test_research_has_no_portfolio_and_no_state_limits() -> None:
    assert override(Limits(), in_flight=1.0, max_cash_debit=1.25) == PROFILES["research"]


def test_profiles_are_ordered_from_strict_to_loose() -> None:
    strict, middle, loose = (PROFILES[p] for p in ("conservative", "balanced", "aggressive"))
    for name in Limits.__struct_fields__:
        a, b, c = (getattr(p, name) for p in (strict, middle, loose))
        if name.startswith("max_") and a is not None and b is not None and c is not None:
            assert a <= b <= c, name
    for name in ("var", "cvar"):
        assert getattr(strict, name).limit < getattr(middle, name).limit < getattr(loose, name).limit


def test_of_two_tables_the_tighter_of_each_part_holds() -> None:
    one = Limits(
        group_caps=(("a", 0.2), ("b", 0.5)), order_rate=Rate(5, 10), liquidity=Liquidity(2.0, 0.2),
        protective=Protective(stop_loss=0.1, cooldown=2), duplicate_window_ns=5, min_sharpe=0.5,
    )  # fmt: skip
    two = Limits(
        group_caps=(("b", 0.3),), order_rate=Rate(9, 99), liquidity=Liquidity(9.0, 0.1), min_sharpe=0.2,
        protective=Protective(stop_loss=0.2, take_profit=0.3, trailing=True), duplicate_window_ns=9,
    )  # fmt: skip
    both = tightest(one, two)
    assert both == tightest(two, one)
    assert both.group_caps == (("a", 0.2), ("b", 0.3))
    assert both.order_rate == Rate(5, 99)
    assert both.liquidity == Liquidity(2.0, 0.1)
    assert both.protective == Protective(stop_loss=0.1, take_profit=0.3, trailing=True, cooldown=5)
    assert (both.duplicate_window_ns, both.min_sharpe) == (9, 0.5)


def test_estimators_that_differ_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match="var"):
        tightest(Limits(var=Tail(limit=0.02)), Limits(var=Tail(limit=0.02, confidence=0.99)))
    merged = tightest(Limits(var=Tail(limit=0.02)), Limits(var=Tail(limit=0.03), restricted=("A",), allow_short=False))
    assert merged.var == Tail(limit=0.02)
    assert merged.restricted == ("A",)
    assert not merged.allow_short
    assert tightest(Limits(cash_reserve=0.1), Limits(cash_reserve=0.2)).cash_reserve == 0.2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 10**6))
def test_one_order_gets_from_the_tightest_no_more_than_from_either(seed: int) -> None:
    a = random_book(np.random.default_rng((seed, 1))).limits
    rng = np.random.default_rng((seed, 2))
    book = random_book(rng)
    # a narrower collar is tighter for the price and leaves more room for the size: the same for all here
    a = override(a, collar=book.limits.collar, reduce_collar=book.limits.reduce_collar)
    try:
        both = tightest(a, book.limits)
    except ValueError:
        return
    asked = np.zeros(len(book.px))
    asked[0] = book.asked[0]
    empty = Account(lots=np.zeros(len(book.px)), cash=100_000.0, equity=100_000.0)
    got = [abs(gate(book.ctx, empty, asked, limits).lots[0]) for limits in (both, a, book.limits)]
    assert got[0] <= min(got[1:])


def test_limits_travel_as_bytes() -> None:
    for limits in PROFILES.values():
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(limits), type=Limits) == limits


LINES = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", (Path(__file__).parents[1] / "docs/limits.md").read_text(), re.M))


def test_every_limit_has_its_line_in_the_docs_with_the_value_of_balanced() -> None:
    keys = {name.removesuffix("_ns") for name in Limits.__struct_fields__} - {
        "fee_bp"
    }  # [broker] commission_bp says it
    assert set(LINES) == keys
    balanced = PROFILES["balanced"]
    for key, line in LINES.items():
        said, value = line.split("|")[-1].strip(), getattr(balanced, key, None)
        numbers = [float(n) for n in re.findall(r"\d+\.?\d*", said)]
        if isinstance(value, Tail):
            assert numbers == [value.limit], key
        elif isinstance(value, Correlation):
            assert numbers == [value.threshold, value.joint_weight], key
        elif isinstance(value, Protective):
            assert numbers == [value.stop_loss, value.take_profit], key
        elif value is None or value == getattr(Limits(), key):
            assert numbers == [], key
        elif isinstance(value, bool):
            assert said == str(value).lower(), key
        else:
            assert numbers == [value], key

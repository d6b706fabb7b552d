"""What can be set: nothing that cannot be meant, and the tightest of two sets is the tightest."""

import re
from runpy import run_path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantd.risk.limits.catalogue import (
    DAY_NS,
    EXTRA,
    FIELDS,
    LIMITS,
    PROFILES,
    Correlation,
    Limits,
    Liquidity,
    Protective,
    Rate,
    Reason,
    Stress,
    Tail,
    by_key,
    override,
    tighter_of,
    tightest,
    value_of,
)
from quantd.risk.limits.record import Bounds, Limit, Refusal
from quantd.risk.limits.settings import NO_COLLAR
from quantd.risk.measures.stress import Shock
from quantd.risk.pretrade.gate import Account, gate
from tests.support.checkout import ROOT
from tests.support.examples import examples
from tests.support.risk_books import random_book

FALL = Shock("fall", moves={"*": -0.2})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tail(limit=0.02, confidence=1.0),
        lambda: Tail(limit=0.02, horizon=0),
        lambda: Correlation(threshold=1.5),
        lambda: Rate(orders=0),
        lambda: Liquidity(days=1.0, participation=2.0),
        lambda: Limits(var=Tail(limit=0.02, lookback=59)),
        lambda: Limits(max_volatility=0.2, volatility_lookback=30),
        lambda: override(Limits(), average_correlation=0.7, volatility_lookback=30),
        lambda: Limits(max_drawdown=15.0),
        lambda: Tail(limit=0.02, confidence=0.49),
        lambda: Tail(limit=0.02, lookback=1),
        lambda: Tail(limit=0.02, horizon=10_001),
        lambda: Tail(limit=0.02, lookback=100_001),
        lambda: Correlation(lookback=1),
        lambda: Correlation(lookback=100_001),
        lambda: Rate(orders=1_000_001),
        lambda: Rate(orders=1, per_ns=0),
        lambda: Rate(orders=1, per_ns=7 * DAY_NS + 1),
        lambda: Liquidity(days=1_000.5),
        lambda: Protective(stop_loss=1.01),
        lambda: Protective(cooldown=10_001),
        lambda: Limits(collar=1.01),
        lambda: Limits(reduce_collar=1.01),
        lambda: Limits(flatten_collar=1.01),
        lambda: Limits(fee_bp=10_001.0),
        lambda: Limits(cash_reserve=1.01),
        lambda: Limits(min_history=1),
        lambda: Limits(min_history=100_001),
        lambda: Limits(volatility_lookback=1),
        lambda: Limits(volatility_lookback=100_001),
        lambda: Limits(max_share_of_volume=1.01),
        lambda: Limits(min_diversification=1.01),
        lambda: Limits(correlation=Correlation(lookback=59)),
        lambda: Limits(cvar=Tail(limit=0.02, lookback=59)),
    ],
)
def test_a_measure_that_cannot_work_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must|shorter"):
        make()  # type: ignore[operator]


def test_explicit_keys_go_over_a_profile_and_none_turns_a_limit_off() -> None:
    narrowed = override(PROFILES["balanced"], max_position_weight=0.5, var=None)
    assert narrowed.max_position_weight == 0.5
    assert narrowed.var is None
    assert narrowed.cvar == PROFILES["balanced"].cvar
    with pytest.raises(TypeError, match="Did you mean max_drawdown"):
        override(Limits(), max_drawdwon=0.1)
    with pytest.raises(TypeError, match=r"^zzz is not a limit$"):
        override(Limits(), zzz=0.1)
    with pytest.raises(ValueError, match="max_drawdown"):
        override(Limits(), max_drawdown=float("nan"))


def test_research_has_no_portfolio_and_no_state_limits() -> None:
    off = dict.fromkeys(("collar", "reduce_collar", "flatten_collar"), NO_COLLAR)
    assert override(Limits(), in_flight=1.0, max_cash_debit=1.25, **off) == PROFILES["research"]


@pytest.mark.requirement("R-135")
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
        protective=Protective(stop_loss=0.2, take_profit=0.3, trailing=True, at_venue=True), duplicate_window_ns=9,
    )  # fmt: skip
    both = tightest(one, two)
    assert both == tightest(two, one)
    assert both.group_caps == (("a", 0.2), ("b", 0.3))
    assert both.order_rate == Rate(5, 99)
    assert both.liquidity == Liquidity(2.0, 0.1)
    assert both.protective == Protective(stop_loss=0.1, take_profit=0.3, trailing=True, cooldown=5, at_venue=True)
    assert (both.duplicate_window_ns, both.min_sharpe) == (9, 0.5)


@pytest.mark.parametrize(
    ("one", "two", "both"),
    [
        ({"max_drawdown": 0.1}, {"max_drawdown": 0.2}, {"max_drawdown": 0.1}),
        ({"max_drawdown": 0.1}, {}, {"max_drawdown": 0.1}),
        ({"allow_short": True}, {"allow_short": False}, {"allow_short": False}),
        ({"allow_short": False}, {"allow_short": False}, {"allow_short": False}),
        ({"restricted": ("B",)}, {"restricted": ("A", "B")}, {"restricted": ("A", "B")}),
        ({"cash_reserve": 0.1}, {"cash_reserve": 0.2}, {"cash_reserve": 0.2}),
        ({"fee_bp": 1.0}, {"fee_bp": 2.0}, {"fee_bp": 2.0}),
        ({"min_history": 61}, {"min_history": 60}, {"min_history": 61}),
        ({"min_diversification": 0.1}, {"min_diversification": 0.2}, {"min_diversification": 0.2}),
        ({"max_position_weight": 0.1}, {"max_position_weight": 0.2}, {"max_position_weight": 0.1}),
        ({"extra": (("average_correlation", 0.7),)}, {"extra": (("average_correlation", 0.6),)},
        {"extra": (("average_correlation", 0.6),)}),
        ({"cvar": Tail(0.03)}, {"cvar": Tail(0.02)}, {"cvar": Tail(0.02)}),
        ({"group_caps": (("b", 0.1),)}, {"group_caps": (("b", 0.2), ("a", 0.3))},
        {"group_caps": (("a", 0.3), ("b", 0.1))}),
        (
            {"correlation": Correlation(0.7, 0.5, 0.05)},
            {"correlation": Correlation(0.8, 0.4, 0.02, strict=True)},
            {"correlation": Correlation(0.7, 0.4, 0.02, strict=True)},
        ),
        (
            {"correlation": Correlation(0.7, 0.5, 0.05, lookback=80)},
            {"correlation": Correlation(0.6, 0.6, 0.06, lookback=80)},
            {"correlation": Correlation(0.6, 0.5, 0.05, lookback=80)},
        ),
    ],
)  # fmt: skip
def test_of_two_values_the_tighter_holds_whoever_gives_it(one: dict, two: dict, both: dict) -> None:
    assert tightest(Limits(**one), Limits(**two)) == Limits(**both)
    assert tightest(Limits(**two), Limits(**one)) == Limits(**both)


def test_of_two_stress_limits_every_scenario_holds_once_at_the_lower_loss() -> None:
    rise = Shock("rise", moves={"*": 0.2})
    both = tightest(Limits(stress=Stress(0.2, (FALL,))), Limits(stress=Stress(0.1, (rise, FALL))))
    assert both.stress == Stress(0.1, (FALL, rise))


def test_lookbacks_that_differ_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match=r"^correlation.lookback: 252 and 80 cannot be merged"):
        tightest(Limits(correlation=Correlation()), Limits(correlation=Correlation(threshold=0.6, lookback=80)))
    with pytest.raises(ValueError, match=r"^volatility_lookback: 252 and 80 cannot be merged"):
        tightest(Limits(), Limits(volatility_lookback=80))


def test_of_two_protective_sets_the_one_that_is_given_holds() -> None:
    one = Protective(stop_loss=0.1)
    assert tighter_of("protective", one, None) == tighter_of("protective", None, one) == one


def test_estimators_that_differ_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match="var"):
        tightest(Limits(var=Tail(limit=0.02)), Limits(var=Tail(limit=0.02, confidence=0.99)))
    merged = tightest(Limits(var=Tail(limit=0.02)), Limits(var=Tail(limit=0.03), restricted=("A",), allow_short=False))
    assert merged.var == Tail(limit=0.02)
    assert merged.restricted == ("A",)
    assert not merged.allow_short
    assert tightest(Limits(cash_reserve=0.1), Limits(cash_reserve=0.2)).cash_reserve == 0.2


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
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


@pytest.mark.requirement("R-272")
def test_the_page_has_the_tables_of_the_records_with_every_field() -> None:
    page = (ROOT / "docs/risk/limits.md").read_text(encoding="utf-8")
    with_tables = run_path(str(ROOT / "scripts/limits_page.py"))["with_tables"]
    assert with_tables(page) == page, "run python scripts/limits_page.py docs/risk/limits.md"
    keys = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    # [broker] commission_bp sets fee_bp
    assert keys == {name.removesuffix("_ns") for name in FIELDS | EXTRA.keys()} - {"fee_bp"}
    assert with_tables(page.replace("| 0.15 |", "| 0.16 |")) == page


BARE = [LIMITS[key] for key in FIELDS]
PRICE = Limit("max_price", 1, "price", refusals=(Refusal(120, "PRICE", "too dear"),), bounds=Bounds(0.0, 100.0))


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ([*BARE, LIMITS["var"]], "two limits have the same key var"),
        ([*BARE, Limit("some", 1, "", refusals=(Refusal(10, "SOME", ""),))], "two limits have the same code 10"),
        ([*BARE, Limit("some", 1, "", refusals=(Refusal(120, "VAR", ""),))], "two limits have the same name VAR"),
        ([*BARE, Limit("some", 1, "", refusals=(Refusal(128, "SOME", ""),))], "0 to 127; .*128.* do not"),
        ([limit for limit in BARE if limit.key != "var"], "no record has the keys var of Limits"),
    ],
)
def test_records_that_contradict_each_other_are_refused(records: list[Limit], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        by_key(records)


JOURNALLED = (
    "NONE", "POSITION_WEIGHT", "GROSS", "CASH", "ORDER_NOTIONAL", "PRICE_AGE", "PRICE_MISSING", "WORST_PRICE",
    "HISTORY", "NOT_FINITE", "VAR", "CVAR", "VOLATILITY", "CORRELATION", "NET", "SHORT", "RESTRICTED", "CONCENTRATION",
    "SECTOR", "TURNOVER", "SHARE_OF_VOLUME", "OPEN_ORDERS", "SWITCH", "ZERO_CROSSING", "EQUITY", "LEVERAGE",
    "HERFINDAHL", "GROUP", "SECTOR_MISSING", "VOLUME_MISSING", "LIQUIDITY", "ORDER_RATE", "DUPLICATE", "PROTECTED",
    "STRESS", "SHOCK_MISSING", "HALTED", "ACCOUNT_NOTIONAL", "RAMP", "ORDERS_PER_DAY", "BUYING_POWER", "NO_BORROW",
    "PRICE_JUMP", "AVERAGE_CORRELATION", "VOLATILE", "REFUSED",
)  # fmt: skip
"""Names of the codes 0, 1, 2, ... in the journals of all releases. A further limit has a code behind them."""


def test_the_codes_of_reasons_are_those_of_every_journal() -> None:
    of_code = {int(reason): reason.name for reason in Reason}
    assert tuple(of_code.get(code) for code in range(len(JOURNALLED))) == JOURNALLED
    assert len(of_code) == len(Reason)
    assert max(of_code) <= 127  # `by_key` refuses doubled codes and names


def test_a_limit_without_a_field_is_overridden_merged_and_encoded_like_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert b"extra" not in msgspec.msgpack.encode(Limits())
    for table in (EXTRA, LIMITS):
        monkeypatch.setitem(table, "max_price", PRICE)
    cheap, dear = override(Limits(), max_price=10), override(PROFILES["balanced"], max_price=20.0)
    assert (value_of(cheap, "max_price"), value_of(Limits(), "max_price")) == (10.0, None)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(dear), type=Limits) == dear
    # of the limits with a field `Limits()` has one that is tighter than the profile's: no excess while orders are open
    both = override(PROFILES["balanced"], max_price=10.0, in_flight=0.0)
    assert tightest(cheap, dear) == tightest(dear, cheap) == both
    assert tightest(Limits(), dear) == override(dear, in_flight=0.0)
    assert override(dear, max_price=None) == PROFILES["balanced"]
    with pytest.raises(ValueError, match=r"max_price = 101 must be a number in \[0, 100\]"):
        override(Limits(), max_price=101)
    with pytest.raises(TypeError, match="Did you mean max_price"):
        override(Limits(), max_prise=1)


def test_a_set_with_a_limit_that_nobody_knows_is_not_evaluated() -> None:
    unknown = msgspec.structs.replace(Limits(), extra=(("max_of_no_record", 10.0),))
    ctx = random_book(np.random.default_rng(1)).ctx
    empty = Account(lots=np.zeros(ctx.size), cash=100_000.0, equity=100_000.0)
    with pytest.raises(ValueError, match="no limit has the keys max_of_no_record"):
        gate(ctx, empty, np.ones(ctx.size), unknown)

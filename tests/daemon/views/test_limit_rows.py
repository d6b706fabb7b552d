"""Every limit and every reason has its words: a row for each, and one without a row fails here."""

import pytest

from quantd.daemon.assembly.limits import limits_of, shocks_of
from quantd.daemon.config import read
from quantd.daemon.views.limit_rows import is_of, off, unit, words
from quantd.risk.limits.catalogue import (
    EXTRA,
    FIELDS,
    LIMIT_OF,
    LIMITS,
    REASON_TEXT,
    Correlation,
    Limits,
    Liquidity,
    Rate,
    Reason,
    Tail,
    bound_of,
)
from quantd.risk.switch import STATE_LIMITS
from quantd.trading.display_text import figure
from quantd.trading.instruments import Instrument, Universe
from tests.support.every_key import KNOWN, TEXT

SET = Limits(
    var=Tail(limit=0.03, confidence=0.99, horizon=5),
    cvar=Tail(limit=0.05),
    correlation=Correlation(),
    order_rate=Rate(60),
    liquidity=Liquidity(3.0, 0.2),
    max_volatility=0.2,
)
SAID = {
    "max_position_weight": ("QQQ", "position weight QQQ", 0.128, "12.8 %"),
    "max_gross_exposure": ("", "gross exposure, long and short", 1.0, "100.0 %"),
    "max_net_exposure": ("", "net exposure, long less short", 0.5, "50.0 %"),
    "max_leverage": ("", "leverage, assets over equity", 1.25, "1.25"),
    "max_sector_weight": ("technology", "sector technology", 0.4, "40.0 %"),
    "group_caps.large": ("", "group large", 0.4, "40.0 %"),
    "max_concentration": ("BTC", "single asset BTC", 0.3, "30.0 %"),
    "max_herfindahl": ("", "concentration, sum of squared weights", 0.25, "0.25"),
    "average_correlation": (
        "QQQ bought 0.90 with the others",
        "average correlation of the positions, QQQ bought 0.90 with the others",
        0.5,
        "0.5",
    ),
    "max_order_notional": ("", "order value at its worst price", 2310.4, "2,310.40"),
    "max_share_of_volume": ("", "order, share of the average volume", 0.05, "5.0 %"),
    "liquidity": ("QQQ", "sessions to sell QQQ at 20 % of volume", 1.5, "1.50"),
    "max_turnover": ("", "turnover of this session", 0.2, "20.0 %"),
    "order_rate": ("", "orders sent within 60 s", 12.0, "12"),
    "max_open_orders": ("", "open orders", 3.0, "3"),
    "max_volatility": ("", "volatility a year, 252 samples", 0.1, "10.0 %"),
    "var": ("", "VaR 99 % 5 days, historical", 0.028, "2.8 %"),
    "cvar": ("", "CVaR (expected shortfall) 95 % 1 day, historical", 0.04, "4.0 %"),
    "correlation": ("QQQ~SPY 0.94", "correlation QQQ~SPY 0.94, joint", 0.27, "27.0 %"),
    "cash": ("", "cash at worst prices, without sales", 132.48, "132.48"),
    "max_drawdown": ("", "drawdown since the last resume", 0.09, "9.0 %"),
    "max_daily_loss": ("", "loss of this day", 0.01, "1.0 %"),
    "max_weekly_loss": ("", "loss of this week", 0.01, "1.0 %"),
    "max_price_age_ns": ("", "age of the last price", 1.5, "1.5 h"),
    "stress.crash": ("", "stress scenario crash", 0.2, "20.0 %"),
}


@pytest.mark.parametrize("key", SAID)
def test_a_limit_is_told_in_words_with_its_unit(key: str) -> None:
    about, wording, value, shown = SAID[key]
    assert words(key, SET, about) == wording
    assert figure(value, unit(key)) == shown


def test_bounds_are_those_of_the_set() -> None:
    bounds = {"var": 0.03, "liquidity": 3.0, "order_rate": 60.0, "max_volatility": 0.2}
    assert {key: bound_of(SET, key) for key in bounds} == bounds


PLAIN = {key: limit.label for key, limit in EXTRA.items() if isinstance(limit.label, str)}
"""Limits without a field in `Limits` whose label is a text."""


@pytest.mark.parametrize("key", PLAIN)
def test_a_text_is_the_words_of_a_limit_whatever_it_is_about(key: str) -> None:
    assert words(key, SET) == words(key, SET, "QQQ") == PLAIN[key]
    assert figure(0.5, unit(key))


def test_every_limit_has_words_and_what_measures_something_has_a_row_here() -> None:
    measured = {key for key, record in LIMITS.items() if record.example and unit(key) != "none"}
    watched = {"max_realised_volatility", "min_diversification", "min_sharpe"}
    assert measured - watched - PLAIN.keys() <= {key.partition(".")[0] for key in SAID}
    assert set(STATE_LIMITS) <= set(SAID)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_names_the_limit_that_gave_it(reason: Reason) -> None:
    key = LIMIT_OF[reason]
    assert (not key) == (reason == Reason.NONE)
    if key:
        assert words(key, Limits())
        assert is_of(key, reason)
        # a text names the key that it blames, where it names one
        named = [k for k in (*FIELDS, *EXTRA) if k.removesuffix("_ns") in REASON_TEXT[reason].replace(".", " ").split()]
        assert not named or key in named or reason in (Reason.SECTOR_MISSING,)


EXAMPLES = [(key, record.example) for key, record in LIMITS.items() if record.example]


@pytest.mark.parametrize(("key", "example"), EXAMPLES)
def test_the_line_that_switches_a_limit_on_does(key: str, example: str) -> None:
    base = "\n".join(
        line
        for line in TEXT.splitlines()
        if not line.startswith(("var", "cvar", "corr", "liq", "order_r", "prot", "group_c", "stress"))
    )
    universe = Universe((Instrument("SPY", sector="x"), Instrument("QQQ", sector="x")))
    config = read(base.replace("[risk]", f"[risk]\n{example.replace('GME', 'SPY')}"), KNOWN)
    limits = limits_of(config.risk, None, universe, shocks_of(config))
    closed = {name for name, _, _ in off(Limits(allow_short=key == "allow_short"))}
    assert key in closed
    assert closed - {name for name, _, _ in off(limits)} == {key}

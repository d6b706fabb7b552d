"""The spelling of a symbol tells its exchange's calendar, its currency, and what it may be used for."""

import re

import pytest

from quantd.adapters import calendars
from quantd.daemon.config.values import TICKER
from quantd.trading.instruments import (
    BY_SUFFIX,
    CURRENCIES,
    INDICES,
    OTHER_SUFFIXES,
    calendar_of,
    house_calendar,
    kind_of,
    listed_calendar,
    suffix_of,
    usual_currency,
)


@pytest.mark.parametrize(
    ("symbol", "calendar", "currency", "kind"),
    [
        ("SPY", "XNYS", "USD", "share"),
        ("BRK.B", "XNYS", "USD", "share"),
        ("TSCO.L", "XLON", "GBX", "share"),
        ("BT.A.L", "XLON", "GBX", "share"),
        ("SAP.DE", "XETR", "EUR", "share"),
        ("7203.T", "XTKS", "JPY", "share"),
        ("BHP.AX", "XASX", "AUD", "share"),
        ("NOVO-B.CO", "XCSE", "DKK", "share"),
        ("VALE3.SA", "BVMF", "BRL", "share"),
        ("TEVA.TA", "XTAE", "ILA", "share"),
        ("CLZ25.NYM", "CMES", "USD", "share"),
        ("BTC-USD", "24/7", "USD", "coin"),
        ("BTC/USD", "24/7", "USD", "coin"),
        ("ETH-GBP", "24/7", "GBP", "coin"),
        ("ETH-BTC", "24/7", "USD", "coin"),
        ("EURUSD=X", "24/5", "USD", "currency"),
        ("EURGBP=X", "24/5", "GBP", "currency"),
        ("JPY=X", "24/5", "JPY", "currency"),
        ("CL=F", "CMES", "USD", "future"),
        ("^GSPC", "XNYS", "USD", "index"),
        ("^VIX", "XNYS", "USD", "index"),
        ("^FTSE", "XLON", "GBP", "index"),
        ("^GDAXI", "XETR", "EUR", "index"),
        ("^N225", "XTKS", "JPY", "index"),
        ("^HSI", "XHKG", "HKD", "index"),
        ("^STOXX50E", "XPAR", "EUR", "index"),
        ("^TA125.TA", "XTAE", "ILS", "index"),
        ("^NEVERHEARD", "XNYS", "USD", "index"),
    ],
)
def test_a_symbol_names_its_calendar_its_currency_and_its_kind(
    symbol: str, calendar: str, currency: str, kind: str
) -> None:
    assert (calendar_of(symbol), usual_currency(symbol), kind_of(symbol)) == (calendar, currency, kind)


def test_every_suffix_and_index_names_a_calendar_of_the_library() -> None:
    valid = {*calendars.names(), "24/5"}
    assert set(BY_SUFFIX.values()) <= valid
    assert set(INDICES.values()) <= valid
    assert set(CURRENCIES) <= valid
    assert not BY_SUFFIX.keys() & OTHER_SUFFIXES


@pytest.mark.parametrize("suffix", [*BY_SUFFIX, *sorted(OTHER_SUFFIXES)])
def test_a_suffix_ends_a_symbol_that_config_toml_accepts(suffix: str) -> None:
    assert suffix_of(f"ABC{suffix}") == suffix
    assert suffix_of(f"A.B{suffix}") == suffix
    assert suffix_of(suffix) == ""
    assert re.fullmatch(TICKER, f"ABC{suffix}")
    assert listed_calendar(f"ABC{suffix}") == BY_SUFFIX.get(suffix, "")


@pytest.mark.parametrize(
    ("calendars_of_symbols", "house"),
    [
        (["XNYS"], "XNYS"),
        (["24/7", "24/7"], "24/7"),
        (["24/7", "24/7", "XNYS"], "XNYS"),
        (["XLON", "XETR", "XETR", "24/7"], "XETR"),
        (["XLON", "XNYS"], "XNYS"),
        (["XLON", "XETR"], "XLON"),
        (["24/5", "24/7"], "24/5"),
    ],
)
def test_the_house_has_the_commonest_calendar_that_closes(calendars_of_symbols: list[str], house: str) -> None:
    assert house_calendar(calendars_of_symbols) == house

"""Kraken's documented errors, and those that no page has."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.exchange.kraken_errors import KRAKEN_ERRORS, kraken_outcome
from quantd.adapters.exchange.refusal_words import Outcome, service_class
from tests.support.examples import examples


def text(*errors: str) -> str:
    quoted = ", ".join(f'"{error}"' for error in errors)
    return f'kraken {{"error": [{quoted}]}}'


@pytest.mark.parametrize("record", KRAKEN_ERRORS, ids=lambda record: record.text)
def test_each_documented_error_has_its_outcome_with_more_words_too(record) -> None:  # type: ignore[no-untyped-def]
    assert kraken_outcome(text(record.text)) is record.outcome
    assert kraken_outcome(text(f"{record.text}:XBTUSD 17 of them")) is record.outcome
    assert record.source


def test_no_error_has_two_records() -> None:
    assert max(Counter(record.text for record in KRAKEN_ERRORS).values()) == 1


def test_only_a_documented_error_is_a_refusal_and_none_of_them_is_about_the_service_but_by_its_record() -> None:
    about_service = {
        record.text for record in KRAKEN_ERRORS if record.outcome is Outcome.REFUSED and service_class(record.text)
    }
    # the first three are documented as answers before the order is taken, the others are lists without a market
    assert about_service == {
        "EService:Deadline elapsed", "EService:Market in cancel_only mode", "EService:Market in post_only mode",
        "EService:Market in limit_only mode", "EService:Market in reduce_only mode", "EService:Market in",
        "EFunding:Failed",
    } & about_service  # fmt: skip


INVENTED = (
    "EService:Reticulating", "EService:Timeout", "EService:Throttled: 1764070000", "EAuth:Too many requests",
    "EOrder:Domain rate limit exceeded", "EOrder:Invisible price", "EGeneral:Locked out of the house", "EFoo:Bar",
    "EOrder:Queue full", "EDatabase:Gone", "EMatching:Halting problem", "EService:Marketing", "EOrder:Invalidated",
)  # fmt: skip


@pytest.mark.parametrize("error", INVENTED)
def test_an_error_that_no_page_has_is_never_a_refusal(error: str) -> None:
    assert kraken_outcome(text(error)) in (Outcome.UNKNOWN, Outcome.STRANGE)


@given(st.sampled_from(["EService", "EOrder", "EGeneral", "EAuth", "EWhat"]), st.text("abcdef gh", min_size=1))
@settings(max_examples=examples(200), deadline=None)
def test_no_drawn_words_are_a_refusal(category: str, words: str) -> None:
    assert kraken_outcome(text(f"{category}:{words}")) in (Outcome.UNKNOWN, Outcome.STRANGE)


def test_of_several_errors_the_least_certain_counts() -> None:
    assert kraken_outcome(text("EOrder:Insufficient funds", "EService:Busy")) is Outcome.UNKNOWN
    assert kraken_outcome(text("EOrder:Insufficient funds", "EFoo:Bar")) is Outcome.STRANGE
    assert kraken_outcome(text("EOrder:Insufficient funds", "WGeneral:Hello")) is Outcome.REFUSED
    assert kraken_outcome("kraken POST https://api.kraken.com/0/private/AddOrder") is None

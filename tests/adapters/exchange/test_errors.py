"""What ccxt's exceptions mean: all of them, and none that can follow an acceptance is taken for a refusal."""

import importlib
from importlib.util import find_spec

import aiohttp
import pytest

from quantd.adapters.exchange.exchange_errors import OUTCOMES, MalformedAnswer, outcome
from quantd.adapters.exchange.kraken_errors import kraken_outcome
from quantd.adapters.exchange.refusal_words import Outcome

pytestmark = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


def errors() -> dict[str, type[Exception]]:
    module = importlib.import_module("ccxt.base.errors")
    return {
        name: member
        for name, member in vars(module).items()
        if isinstance(member, type) and issubclass(member, Exception)
    }


def test_every_exception_of_ccxt_has_an_outcome_and_the_table_names_no_other() -> None:
    assert set(OUTCOMES) == set(errors())
    for name, kind in errors().items():
        assert outcome(kind("words")) is OUTCOMES[name]


def test_what_can_happen_after_an_order_was_accepted_is_never_a_refusal() -> None:
    module = importlib.import_module("ccxt.base.errors")
    for name in (
        "RequestTimeout",
        "NetworkError",
        "ExchangeNotAvailable",
        "OnMaintenance",
        "BadResponse",
        "NullResponse",
    ):
        assert outcome(getattr(module, name)("x")) is Outcome.UNKNOWN
    allowed_outcomes = {Outcome.AGAIN, Outcome.TAKEN, Outcome.UNKNOWN}
    for name, kind in errors().items():
        if issubclass(kind, module.OperationFailed):
            assert outcome(kind("x")) in allowed_outcomes, name


def test_an_exception_that_ccxt_makes_of_an_exception_keeps_its_nearest_class() -> None:
    module = importlib.import_module("ccxt.base.errors")
    newer = type("SomethingNewer", (module.InsufficientFunds,), {"__module__": "ccxt.base.errors"})
    assert outcome(newer("x")) is Outcome.REFUSED


def test_a_connection_lost_in_the_middle_of_an_answer_is_unknown_though_ccxt_calls_it_the_exchange_s_error() -> None:
    module = importlib.import_module("ccxt.base.errors")
    error = module.ExchangeError("kraken POST /AddOrder")
    error.__cause__ = aiohttp.ClientPayloadError("not all of it came")
    assert outcome(error) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "error", [KeyError("result"), TypeError("x"), MalformedAnswer("x"), ConnectionResetError(), TimeoutError()]
)
def test_what_is_not_of_ccxt_is_unknown(error: Exception) -> None:
    assert outcome(error) is Outcome.UNKNOWN


def test_an_exchange_s_own_words_for_a_no_are_one_whatever_ccxt_makes_of_them() -> None:
    module = importlib.import_module("ccxt.base.errors")
    error = module.OnMaintenance('kraken {"error": ["EService:Market in cancel_only mode"]}')
    assert outcome(error) is Outcome.UNKNOWN
    assert outcome(error, kraken_outcome) is Outcome.REFUSED


@pytest.mark.parametrize("kind", ["InvalidOrder", "BadRequest", "OperationRejected", "ExchangeError", "NotSupported"])
def test_words_about_the_service_are_unknown_whatever_class_ccxt_gives_them(kind: str) -> None:
    error_class = getattr(importlib.import_module("ccxt.base.errors"), kind)
    assert outcome(error_class("venue the order gateway is restarting")) is Outcome.UNKNOWN
    assert outcome(error_class('kraken {"error": ["EOrder:Frobnicated"]}'), kraken_outcome) is Outcome.STRANGE

"""The line to an exchange: lazily imported, on another host where told, strict about answers, patient, and discreet."""

import asyncio
import importlib
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from quantd.adapters.exchange.client import Access, NoExchange, connect, paced, patiently, strict
from quantd.adapters.exchange.dialects import KRAKEN, Dialect, as_uuid
from quantd.adapters.exchange.exchange_errors import MalformedAnswer
from quantd.adapters.pace import Pace, Rate
from quantd.trading.instruments import NANO

needs_ccxt = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


@pytest.mark.long
def test_no_module_of_the_adapters_imports_ccxt() -> None:
    code = (
        "import sys, pkgutil, importlib\n"
        "for part in ('brokers', 'feeds', 'exchange'):\n"
        "    package = importlib.import_module('quantd.adapters.' + part)\n"
        "    for m in pkgutil.walk_packages(package.__path__, package.__name__ + '.'): "
        "importlib.import_module(m.name)\n"
        "assert 'quantd.adapters.brokers.ccxt.broker' in sys.modules and 'quantd.adapters.feeds.sources.ccxt' in "
        "sys.modules\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'ccxt']"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_ccxt
async def test_every_address_moves_to_the_host_that_was_asked_for_and_a_stream_stays_one() -> None:
    exchange = await connect(Access("kraken", url="http://127.0.0.1:1"))
    urls = exchange.urls["api"]
    await exchange.close()
    assert urls["private"] == "http://127.0.0.1:1"
    assert urls["ws"]["privateV2"] == "ws://127.0.0.1:1/v2"
    assert "kraken.com" not in repr(urls)


@needs_ccxt
async def test_an_exchange_that_is_none_is_named_with_the_nearest() -> None:
    with pytest.raises(NoExchange, match="Did you mean kraken"):
        await connect(Access("kracken"))


@needs_ccxt
async def test_a_sandbox_that_does_not_exist_is_refused() -> None:
    with pytest.raises(NoExchange, match="no sandbox"):
        await connect(Access("kraken", sandbox=True))


def test_neither_the_repr_nor_a_message_has_the_secrets() -> None:
    access = Access("kraken", key="the-key-itself", secret="the-secret-itself", password="pass-phrase")
    said = access.scrub(
        "GET /x?apiKey=the-key-itself&sign=the-secret-itself\n pass-phrase signature=0a1b2c3d " + "x" * 1000
    )
    for hidden in ("the-key-itself", "the-secret-itself", "pass-phrase", "0a1b2c3d"):
        assert hidden not in repr(access) + str(access) + said
    assert len(said) < 400
    assert "\n" not in said


@pytest.mark.parametrize(
    "answer", ["<html>busy</html>", None, {"result": {}}, {"error": []}, {"error": [], "result": {}}, [1]]
)
async def test_an_answer_that_is_not_whole_is_an_error_and_not_an_empty_list(answer: object) -> None:
    async def fetch(*_: object) -> object:
        return answer

    with pytest.raises(MalformedAnswer):
        await strict(fetch, KRAKEN)("http://x/0/private/OpenOrders", "POST")


async def test_a_whole_answer_passes() -> None:
    async def fetch(*_: object) -> object:
        return {"error": [], "result": {"open": {}}}

    assert await strict(fetch, KRAKEN)("http://x/0/private/OpenOrders", "POST") == await fetch()
    assert await strict(fetch, Dialect())("http://x", "GET") == await fetch()


async def test_questions_and_orders_keep_paces_of_their_own_and_a_long_list_costs_two_turns() -> None:
    asked: list[str] = []

    async def ask(path: str, *_: object) -> None:
        asked.append(path)

    turn = paced(ask, KRAKEN, Pace(Rate(1), 3), Pace(Rate(1), 1))
    for path in ("OpenOrders", "AddOrder", "TradesHistory"):
        await asyncio.wait_for(turn(path, ["private"], "POST", {}), 30)
    for path in ("OpenOrders", "AddOrder"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(turn(path, ["private"], "POST", {}), 0.1)
    assert asked == ["OpenOrders", "AddOrder", "TradesHistory"]


async def test_a_pace_lets_a_burst_through_and_then_its_rate() -> None:
    slow = Pace(Rate(1), burst=3)
    for _ in range(3):
        await asyncio.wait_for(slow.turn(), 30)  # no pause yet: one is a minute
    pace = Pace(Rate(6000), burst=1)
    began = time.perf_counter()
    await asyncio.gather(*(pace.turn() for _ in range(11)))
    assert time.perf_counter() - began >= 0.09


@needs_ccxt
async def test_too_many_requests_are_waited_out_and_nothing_else_is() -> None:
    errors = importlib.import_module("ccxt.base.errors")
    exchange = await connect(Access("kraken", url="http://127.0.0.1:1"))
    asked: list[int] = []

    def ask(kind: type[Exception], times: int) -> object:
        async def one() -> str:
            asked.append(1)
            if len(asked) <= times:
                raise kind("no")
            return "yes"

        asked.clear()
        return one

    try:
        assert await patiently(exchange, ask(errors.RateLimitExceeded, 2), 5.0) == "yes"  # type: ignore[arg-type]
        assert len(asked) == 3
        with pytest.raises(errors.DDoSProtection):
            await patiently(exchange, ask(errors.DDoSProtection, 1000), 0.3)  # type: ignore[arg-type]
        assert 1 < len(asked) < 10
        with pytest.raises(errors.RequestTimeout):
            await patiently(exchange, ask(errors.RequestTimeout, 1), 5.0)  # type: ignore[arg-type]
        assert len(asked) == 1
        exchange.last_response_headers = {"Retry-After": "7"}
        with pytest.raises(errors.DDoSProtection):
            await patiently(exchange, ask(errors.DDoSProtection, 1000), 5.0)  # type: ignore[arg-type]
        assert len(asked) == 1, "a delay beyond its patience is not waited for"
    finally:
        await exchange.close()


def test_a_client_id_is_the_same_in_every_process_and_a_uuid() -> None:
    assert as_uuid("q-abcdefgh-0123456789ab-1") == "d7ca3512-1cef-57a4-adb9-920d5ffbc37f"
    assert len({as_uuid(f"q-abcdefgh-0123456789ab-{n}") for n in range(1000)}) == 1000


def test_an_end_between_two_seconds_is_the_later_one_and_a_deadline_is_rfc_3339() -> None:
    assert KRAKEN.until is not None
    assert KRAKEN.refuse_after is not None
    assert KRAKEN.until(1_700_000_000 * NANO) == {"timeinforce": "GTD", "expiretm": "1700000000"}
    assert KRAKEN.until(1_700_000_000 * NANO + 1)["expiretm"] == "1700000001"
    assert KRAKEN.refuse_after(1_700_000_000 * NANO + NANO // 2) == {"deadline": "2023-11-14T22:13:20.500000Z"}

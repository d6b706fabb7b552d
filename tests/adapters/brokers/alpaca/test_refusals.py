"""Alpaca's answers to an order: refused by a documented class only, else the order is asked for."""

import pytest

from quantd.adapters.brokers.alpaca.refusals import CODES, alpaca_outcome
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.orders import OrderState
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.alpaca import alpaca_scene
from tests.proofs.conformance.scene import Scene
from tests.support.venues.alpaca_book import Refused

__all__ = ["alpaca_scene"]


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_its_outcome_and_its_source(code: int) -> None:
    means, source = CODES[code]
    assert source
    if 400 <= code // 100_000 < 500:
        assert alpaca_outcome(code // 100_000, code, "quux") is means
        assert alpaca_outcome(code // 100_000 + 1, code, "quux") is not Outcome.REFUSED, "another status"


SERVICE = (
    (403, 40310000, "order service temporarily unavailable"),
    (422, 42210000, "request timed out"),
    (422, 42210000, "matching engine is busy"),
    (403, 40310000, "internal error"),
    (400, 40010000, "too many requests"),
    (403, 0, "venue in maintenance"),
    (409, 40910000, "try again later"),
)
STRANGE = (
    (403, 40319999, "the moon is full"),
    (422, 42299999, "frobnication required"),
    (409, 0, "conflict"),
    (404, 0, "page"),
    (423, 42310000, "reticulating splines"),
)


def answers(s: Scene, status: int, code: int, words: str, *, taken: bool) -> None:
    """The next order is answered with an error, after it was taken or not."""
    book = s.rig.server.book
    place = book.place

    def placed(asked, **more):  # type: ignore[no-untyped-def]
        book.place = place
        if taken:
            place(asked, **more)
        raise Refused(status, code, words)

    book.place = placed


@pytest.mark.parametrize(("status", "code", "words"), [*SERVICE, *STRANGE])
async def test_an_order_that_was_taken_with_an_unknown_answer_is_found(
    s: Scene, status: int, code: int, words: str
) -> None:
    answers(s, status, code, words, taken=True)
    basket = s.decide(Row(0, 10))
    s.books.take(await s.broker.submit(basket))
    assert s.known(basket) in (OrderState.UNKNOWN, OrderState.WORKING)
    s.books.take(await s.broker.submit(basket))
    await s.state(basket, OrderState.WORKING)
    assert s.rig.requests("submit") == 1


@pytest.mark.parametrize(("status", "code", "words"), STRANGE)
async def test_strange_words_are_a_refusal_once_the_venue_has_no_such_order(
    s: Scene, status: int, code: int, words: str
) -> None:
    answers(s, status, code, words, taken=False)
    basket = s.decide(Row(0, 10))
    s.books.take(await s.broker.submit(basket))
    assert s.known(basket) == OrderState.UNKNOWN
    await s.rig.settle()
    reports = await s.broker.query(basket.sample, basket.n, [0])
    s.books.take(reports)
    assert s.known(basket) == OrderState.REJECTED
    assert reports[0].reason == words  # type: ignore[union-attr]
    assert s.rig.requests("submit") == 1


async def test_after_words_about_the_service_an_order_that_the_venue_lacks_may_be_sent_again(s: Scene) -> None:
    answers(s, *SERVICE[0], taken=False)
    basket = s.decide(Row(0, 10))
    s.books.take(await s.broker.submit(basket))
    await s.rig.settle()
    s.books.take(await s.broker.submit(basket))
    await s.state(basket, OrderState.WORKING)

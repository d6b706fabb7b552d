"""A pace is kept, also at the start; a rate that allows nothing is refused; a requested delay is read and bounded."""

import asyncio
import itertools
import time
from email.utils import formatdate

import pytest

from quantd.adapters.pace import Pace, Rate, back_off_s, retry_after_s


async def test_requests_are_evenly_spaced_from_the_first_on() -> None:
    pace, loop = Pace(Rate(10, 0.4)), asyncio.get_running_loop()
    at = []

    async def ask() -> None:
        await pace.turn()
        at.append(loop.time())

    await asyncio.gather(*(ask() for _ in range(8)))
    assert all(later - earlier >= 0.04 * 0.8 for earlier, later in itertools.pairwise(at))


@pytest.mark.parametrize(("calls", "per_s"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_of_nothing_is_refused(calls: float, per_s: float) -> None:
    with pytest.raises(ValueError, match="allows nothing"):
        Rate(calls, per_s)


@pytest.mark.parametrize(
    ("headers", "delay_s"),
    [
        ({}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "7"}, 7.0),
        ({"RETRY-AFTER": " 7 "}, 7.0),
        ({"x-ratelimit-reset": "inf"}, 20.0),
        ({"Retry-After": "1000"}, 20.0),
        ({"Retry-After": "soon"}, 0.0),
        ({"X-RateLimit-Reset": "nan"}, 0.0),
        ({"X-RateLimit-Reset": "inf"}, 20.0),
        ({"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, 0.0),
    ],
)
def test_a_requested_delay_is_seconds_and_bounded(headers: dict[str, str], delay_s: float) -> None:
    assert retry_after_s(headers, 20.0) == delay_s


@pytest.mark.parametrize(("away_s", "delay_s"), [(-60, 0.0), (600, 20.0)])
def test_a_requested_date_is_a_delay_from_now_and_bounded(away_s: float, delay_s: float) -> None:
    then = time.time() + away_s
    assert retry_after_s({"Retry-After": time.asctime(time.gmtime(then))}, 20.0) == delay_s
    assert (
        retry_after_s({"Retry-After": time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(then))}, 20.0) == delay_s
    )
    assert retry_after_s({"Retry-After": formatdate(then, usegmt=True)}, 20.0) == delay_s
    assert retry_after_s({"X-RateLimit-Reset": f"{then:.0f}"}, 20.0) == delay_s


@pytest.mark.parametrize(("failed", "bound_s"), [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (10_000, 60.0)])
def test_a_pause_after_failures_doubles_up_to_the_longest_and_is_at_least_half(failed: int, bound_s: float) -> None:
    waits = [back_off_s(failed, 1.0, 60.0) for _ in range(200)]
    assert bound_s / 2 <= min(waits) < max(waits) <= bound_s

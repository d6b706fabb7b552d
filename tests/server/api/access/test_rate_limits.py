"""Token buckets and counts of wrong tokens: their arithmetic, and the bound of their tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.server.api.access.rate_limits import (
    MOST_KEYS,
    WRONG_IN_ALL,
    WRONG_TOKENS,
    Buckets,
    WrongTokens,
    address_of,
)


def test_a_burst_passes_at_once_and_then_one_request_per_interval():
    buckets = Buckets(per_s=10.0, burst=3)
    assert [buckets.wait_s("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]
    assert buckets.wait_s("b", 0.0) == 0.0  # another client
    assert buckets.wait_s("a", 0.05) == pytest.approx(0.05)
    assert buckets.wait_s("a", 0.11) == 0.0


@given(st.lists(st.floats(0, 0.5), max_size=60), st.integers(1, 5))
def test_never_more_than_burst_and_rate_together(gaps, burst):
    buckets, now, passed = Buckets(per_s=4.0, burst=burst), 0.0, 0
    for gap in gaps:
        now += gap
        passed += buckets.wait_s("a", now) == 0.0
        assert passed <= burst + 4.0 * now + 1e-6


def test_a_table_is_bounded_however_many_clients_there_are():
    buckets, wrong = Buckets(1.0, 1), WrongTokens()
    for k in range(MOST_KEYS * 3):
        buckets.wait_s(str(k), 0.0)
        wrong.count(str(k), 0.0)
    assert len(buckets) == len(wrong) == MOST_KEYS


def test_wrong_tokens_are_counted_by_address_and_in_all_for_a_minute():
    wrong = WrongTokens()
    assert [wrong.count("a", 0.0) for _ in range(WRONG_TOKENS + 1)] == [True] * WRONG_TOKENS + [False]
    counts = [wrong.count(str(k), 1.0) for k in range(WRONG_IN_ALL)]
    assert counts == [True] * (WRONG_IN_ALL - WRONG_TOKENS) + [False] * WRONG_TOKENS
    assert wrong.count("a", 60.5)


def test_an_address_of_ipv6_is_the_network_of_its_client():
    assert address_of("2001:db8:1:2:3::4") == address_of("2001:db8:1:2::9") != address_of("2001:db8:1:3::9")
    assert address_of("::ffff:10.0.0.1") == address_of("10.0.0.1") == "10.0.0.1"
    assert address_of("fe80::1%eth0") == "fe80::"
    assert address_of(None) == ""

"""Scores fall with failures, rise with answers, and decide whom to ask."""

from quantd.adapters.feeds.wrappers.health import Health


def test_rests_double_up_to_a_quarter_of_an_hour_and_honour_what_the_vendor_asked() -> None:
    health = Health()
    rests = []
    for _ in range(9):
        health.failed(100.0)
        rests.append(health.rests_until_s - 100.0)
    assert rests == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    health.failed(100.0, after_s=3000.0)
    assert not health.may_be_tried(3099.9)
    assert health.may_be_tried(3100.0)

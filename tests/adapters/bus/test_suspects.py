"""Which message a broker never takes, told from lost connections alone."""

from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus.suspects import REFUSED_S, SUSPECTS, TRIES, Sent, Suspects

SMALL, LONG = Sent("a", "t/alerts", 300), Sent("b", "t/orders", 9_000)


def test_a_lost_window_accuses_nobody_but_makes_each_message_a_suspect() -> None:
    suspects = Suspects()
    for k in range(10):
        assert suspects.lost([SMALL, LONG], acknowledged=True, now_s=k) is None
    suspects.taken(Sent("c", "t", 400))
    assert not suspects.proven("a", 300)
    assert suspects.proven("d", 400)
    assert not suspects.proven("d", 401)
    assert not suspects.deferred("b")
    assert not suspects.refuses("t/orders", 9_000, 10)


def test_a_message_that_was_alone_at_three_lost_connections_is_refused_and_so_is_each_longer_one() -> None:
    suspects = Suspects()
    suspects.taken(SMALL)
    refusals = [suspects.lost([LONG], acknowledged=True, now_s=k) for k in range(TRIES)]
    assert refusals == [None, None, LONG]
    assert not suspects
    for topic, size, refused in (
        ("t/orders", 9_000, True),
        ("t/fills", 9_001, True),
        ("t/orders", 8_999, False),
        ("t/alerts", 300, False),
    ):
        assert suspects.refuses(topic, size, 3.0) is refused
    assert not suspects.refuses("t/orders", 9_000, 3.0 + REFUSED_S)


def test_a_broker_that_takes_nothing_sets_nothing_aside() -> None:
    suspects = Suspects()
    for k in range(50):
        assert suspects.lost([LONG], acknowledged=False, now_s=k) is None
    assert not suspects.refuses("t/orders", 9_000, 50)


def test_a_message_no_longer_than_one_that_was_taken_is_refused_for_its_topic() -> None:
    suspects = Suspects()
    suspects.taken(Sent("c", "t/fills", 20_000))
    for k in range(TRIES):
        suspects.lost([LONG], acknowledged=True, now_s=k)
    assert suspects.refuses("t/orders", 9_000, 3.0)
    assert not suspects.refuses("t/fills", 30_000, 3.0)


def test_a_second_lower_bound_is_not_reported_again_and_an_acknowledged_length_ends_it() -> None:
    suspects = Suspects()
    assert suspects.refused(LONG, 0.0)
    assert not suspects.refused(Sent("d", "t/fills", 5_000), 1.0)
    assert suspects.refuses("t/x", 6_000, 2.0)
    suspects.taken(Sent("e", "t/y", 7_000))
    assert not suspects.refuses("t/x", 6_000, 2.0)


@given(st.lists(st.integers(0, 10_000), max_size=600))
def test_suspects_are_bounded(keys: list[int]) -> None:
    suspects = Suspects()
    for key in keys:
        suspects.lost([Sent(str(key), "t", 1)], acknowledged=True, now_s=0.0)
    assert suspects.deferrals() <= SUSPECTS

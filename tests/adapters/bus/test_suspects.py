"""Which message a broker never takes, told from lost connections alone."""

from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus.suspects import SUSPECTS, Sent, Suspects

SMALL, LONG = Sent("a", "t/alerts", 300), Sent("b", "t/orders", 9_000)


@given(st.lists(st.integers(0, 10_000), max_size=600))
def test_suspects_are_bounded(keys: list[int]) -> None:
    suspects = Suspects()
    for key in keys:
        suspects.lost([Sent(str(key), "t", 1)], acknowledged=True, now_s=0.0)
    assert suspects.deferrals() <= SUSPECTS

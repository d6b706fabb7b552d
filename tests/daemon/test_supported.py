"""What this version does not do yet is refused with its line, never ignored."""

import pytest

from quantd.daemon.assembly.names import known_names, not_yet
from quantd.daemon.config import read
from quantd.daemon.live.connect import mistakes_of

BASE = """
[quantd]
{quantd}
[universe]
symbols = ["SPY"]
[feed]
path = "bars.csv"
{feed}
[broker]
cash = "1.00"
{broker}
[[agents]]
name = "a"
policy = "equal_weight"
capital = 1.0
{agent}
[[schedules]]
name = "s"
do = "{do}"
at = "close"
[bus]
{bus}
"""


def test_a_job_that_is_not_built_yet_is_refused_with_its_line() -> None:
    parts = {"quantd": "", "feed": "", "broker": "", "agent": "", "bus": "", "do": "reload"}
    (found,) = not_yet(read(BASE.format(**parts), known_names()))
    assert '[[schedules]] "s" do = "reload": this version does not do it yet' in str(found)


def test_modes_live_and_shadow_are_built() -> None:
    parts = {"agent": "", "bus": "", "do": "rebalance"}
    live = BASE.format(quantd='mode = "live"', feed='kind = "alpaca"', broker='kind = "alpaca"', **parts)
    assert not_yet(read(live, known_names())) == []
    shadow = BASE.format(quantd='mode = "shadow"', feed='kind = "yfinance"', broker="", **parts)
    assert not_yet(read(shadow, known_names())) == []


@pytest.mark.parametrize("do", ["rebalance", "snapshot", "flatten", "reallocate"])
def test_what_is_built_is_not_refused(do: str) -> None:
    parts = {"quantd": "", "feed": "", "broker": "", "agent": "", "bus": ""}
    text = BASE.format(do=do, **parts) + "[capital]\n"
    assert not_yet(read(text, known_names())) == []


@pytest.mark.parametrize("do", ["promote", "retrain"])
def test_shadows_their_promotion_and_retraining_are_built(do: str) -> None:
    parts = {"quantd": "", "feed": "", "broker": "", "agent": "", "bus": "", "do": do}
    shadow = '[[agents]]\nname = "b"\npolicy = "momentum"\ncapital = 1.0\nshadow = true\nchallenges = "a"\n'
    assert not_yet(read(BASE.format(**parts) + shadow, known_names())) == []


@pytest.mark.parametrize(
    ("feed", "broker", "line", "said"),
    [
        ('kind = "ccxt"', "", 6, "[feed] venue"),
        ('kind = "http"', "", 6, "[feed] mapping"),
        ('kind = "alpaca"', 'kind = "ccxt"', 9, "[broker] venue"),
        ('kind = "alpaca"', 'kind = "alpaca"\nurl = "https://api.alpaca.markets"', 12, "[broker] url"),
    ],
)
def test_a_vendor_or_venue_that_cannot_be_is_named_with_its_line(feed: str, broker: str, line: int, said: str) -> None:
    parts = {"quantd": "", "agent": "", "bus": "", "do": "rebalance", "feed": feed, "broker": broker}
    found = list(mistakes_of(read(BASE.format(**parts), known_names())))
    assert [said in str(m) for m in found] == [True]

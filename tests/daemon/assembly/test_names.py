"""Names that a configuration may use; others are refused with their line."""

import pytest

from quantd.adapters.calendars import names
from quantd.daemon.assembly.names import COMMON, known_names, mistakes_of
from quantd.daemon.config import ConfigError, read

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


@pytest.mark.parametrize(
    ("feed", "broker", "line", "said"),
    [
        ('kind = "ccxt"', "", 6, "[feed] venue"),
        ('kind = "http"', "", 6, "[feed] mapping"),
        ('kind = "ibkr"', "", 6, "[feed] actions"),
        ('kind = "alpaca"', 'kind = "ccxt"', 9, "[broker] venue"),
        ('kind = "alpaca"', 'kind = "ccxt"\nvenue = "okx"', 12, "sends no orders: it has no record of its answers"),
        ('kind = "alpaca"', 'kind = "alpaca"\nurl = "https://api.alpaca.markets"', 12, "[broker] url"),
    ],
)
def test_a_vendor_or_venue_that_cannot_be_is_named_with_its_line(feed: str, broker: str, line: int, said: str) -> None:
    parts = {"quantd": "", "agent": "", "bus": "", "do": "rebalance", "feed": feed, "broker": broker}
    file_mistakes = list(mistakes_of(read(BASE.format(**parts), known_names())))
    assert [said in str(m) for m in file_mistakes] == [True]


CONFIG = """
[universe]
symbols = ["SPY"]
calendar = "{calendar}"
[feed]
path = "bars.csv"
[broker]
cash = "1.00"
[[agents]]
name = "a"
policy = "{policy}"
capital = 1
params = {{ {params} }}
"""


def test_a_calendar_that_is_not_common_is_found_in_the_library():
    rare = next(name for name in names() if name not in COMMON)
    config = read(CONFIG.format(calendar=rare, policy="momentum", params=""), known_names())
    assert rare in repr(config)


def test_parameters_of_a_policy_are_checked_by_name():
    text = CONFIG.format(calendar="XNYS", policy="learned_allocation", params="maxtilt = 0.2")
    with pytest.raises(ConfigError, match=r"Did you mean max_tilt\?"):
        read(text, known_names())


def zones(tmp_path, feed, mapping):
    (tmp_path / "vendor.toml").write_text(f'name = "v"\nurl = "http://127.0.0.1/"\n{mapping}\n')
    text = BASE.format(quantd="", feed=feed, broker="", agent="", do="rebalance", bus="")
    return [
        mistake for mistake in mistakes_of(read(text, known_names(), folder=tmp_path)) if mistake.path == "feed.zone"
    ]


HTTP = 'kind = "http"\nmapping = "vendor.toml"'


def test_a_zone_beside_another_one_in_the_mapping_is_a_mistake(tmp_path):
    both = f'{HTTP}\nzone = "Asia/Tokyo"'
    (mistake,) = zones(tmp_path, both, 'zone = "America/New_York"')
    assert str(mistake).endswith(
        '= "Asia/Tokyo", but zone = "America/New_York" in vendor.toml, which precedes it; remove one of them.'
    )
    assert mistake.line > 0
    assert zones(tmp_path, both, 'zone = "Asia/Tokyo"') == []
    assert zones(tmp_path, both, "") == []
    assert zones(tmp_path, HTTP, 'zone = "America/New_York"') == []


@pytest.mark.parametrize("kind", ["yfinance", "alpaca"])
def test_a_zone_for_a_vendor_whose_stamps_have_an_offset_is_a_mistake(tmp_path, kind):
    (mistake,) = zones(tmp_path, f'kind = "{kind}"\nzone = "Asia/Tokyo"', "")
    assert f"the stamps of {kind} have an offset; remove it" in str(mistake)

"""Names that a configuration may use; others are refused with their line."""

from pathlib import Path

import pytest

from quantd.adapters.calendars import names
from quantd.daemon.assembly.names import COMMON, known_names, mistakes_of
from quantd.daemon.config import Config, ConfigError, Mistake, read
from tests.support.known_names import SMALL


def configured(feed: str = "", broker: str = "", more: str = "", folder: Path = Path()) -> Config:
    """A small configuration with further lines of [feed], [broker], and its agent or another table."""
    text = SMALL.replace("[broker]", f"{feed}\n[broker]").replace("[risk]", f"{broker}\n[risk]") + more
    return read(text, known_names(), folder=folder)


@pytest.mark.parametrize(
    ("feed", "broker", "line", "said"),
    [
        ('kind = "ccxt"', "", 3, "[feed] venue"),
        ('kind = "http"', "", 3, "[feed] mapping"),
        ('kind = "ibkr"', "", 3, "[feed] actions"),
        ('kind = "alpaca"', 'kind = "ccxt"', 6, "[broker] venue"),
        ('kind = "alpaca"', 'kind = "ccxt"\nvenue = "okx"', 9, "sends no orders: it has no record of its answers"),
        ('kind = "alpaca"', 'kind = "alpaca"\nurl = "https://api.alpaca.markets"', 9, "[broker] url"),
    ],
)
def test_a_vendor_or_venue_that_cannot_be_is_named_with_its_line(feed: str, broker: str, line: int, said: str) -> None:
    (mistake,) = mistakes_of(configured(feed, broker))
    assert said in str(mistake)
    assert mistake.line == line


@pytest.mark.parametrize(
    ("feed", "broker", "more", "said"),
    [
        ('plan = "sip"', "", "", '[feed] plan applies only to kind = "alpaca"'),
        ("", 'venue = "kraken"', "", '[broker] venue applies only to kind = "ccxt"'),
        ('kind = "alpaca"\nmapping = "v.toml"', "", "", '[feed] mapping applies only to kind = "http"'),
        ("", "", '[alerts.sinks.ntfy]\ntopic = "a"\nkinds = ["limit", "order"]\n', 'write one such as "limit_NAME"'),
        ("", "", '[alerts.sinks.ntfy]\ntopic = "a"\nkinds = ["swich"]\n', "Did you mean switch?"),
    ],
)
def test_a_key_that_nothing_reads_is_named(tmp_path: Path, feed: str, broker: str, more: str, said: str) -> None:
    (tmp_path / "v.toml").touch()
    (mistake,) = mistakes_of(configured(feed, broker, more, tmp_path))
    assert said in str(mistake)


def test_an_override_of_the_kind_leaves_the_options_of_the_file() -> None:
    text = SMALL.replace("[risk]", 'kind = "ccxt"\nvenue = "kraken"\n[risk]')
    text = text.replace("[broker]", 'kind = "yfinance"\n[broker]')
    config = read(text, known_names(), sets=("broker.kind=paper",))
    assert list(mistakes_of(config)) == []


def test_a_calendar_that_is_not_common_is_found_in_the_library() -> None:
    rare = next(name for name in names() if name not in COMMON)
    assert rare in repr(configured(more=f'[[universe.instruments]]\nsymbol = "SPY"\ncalendar = "{rare}"\n'))


def test_parameters_of_a_policy_are_checked_by_name() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean max_tilt\?"):
        configured(
            more='[[agents]]\nname = "two"\npolicy = "learned_allocation"\ncapital = 0.1\nparams = { maxtilt = 1 }\n'
        )


def zones(folder: Path, feed: str, mapping: str = "") -> list[Mistake]:
    (folder / "vendor.toml").write_text(f'name = "v"\nurl = "http://127.0.0.1/"\n{mapping}\n')
    return [mistake for mistake in mistakes_of(configured(feed, folder=folder)) if mistake.path == "feed.zone"]


HTTP = 'kind = "http"\nmapping = "vendor.toml"'


def test_a_zone_beside_another_one_in_the_mapping_is_a_mistake(tmp_path: Path) -> None:
    both = f'{HTTP}\nzone = "Asia/Tokyo"'
    (mistake,) = zones(tmp_path, both, 'zone = "America/New_York"')
    assert str(mistake).endswith(
        '= "Asia/Tokyo", but zone = "America/New_York" in vendor.toml, which precedes it; remove one of them.'
    )
    assert mistake.line > 0
    assert zones(tmp_path, both, 'zone = "Asia/Tokyo"') == []
    assert zones(tmp_path, both) == []
    assert zones(tmp_path, HTTP, 'zone = "America/New_York"') == []


@pytest.mark.parametrize("kind", ["yfinance", "alpaca"])
def test_a_zone_for_a_vendor_whose_stamps_have_an_offset_is_a_mistake(tmp_path: Path, kind: str) -> None:
    (mistake,) = zones(tmp_path, f'kind = "{kind}"\nzone = "Asia/Tokyo"')
    assert f"the stamps of {kind} have an offset; remove it" in str(mistake)

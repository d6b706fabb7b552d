"""Records of adapters are found in their folder and among the entry points of installed packages."""

from pathlib import Path

import pytest

from quantd.adapters.brokers.venue import Venue
from quantd.adapters.plugins import function
from quantd.daemon.assembly.brokers import venues
from quantd.daemon.assembly.feeds import vendors
from quantd.daemon.assembly.sinks import sinks
from quantd.records import FaultyRecord, records


def test_the_kinds_are_those_that_a_configuration_has_named_so_far() -> None:
    """A kind stays for as long as a configuration may name it; a new file adds one."""
    assert set(vendors()) >= {"yfinance", "alpaca", "ccxt", "http"}
    assert set(venues()) >= {"paper", "alpaca", "ccxt"}
    assert set(sinks()) >= {"email", "ntfy", "telegram", "webhook"}


def test_every_function_that_a_record_names_is_there() -> None:
    named = [name for vendor in vendors().values() for name in (vendor.source, vendor.stream) if name]
    named += [name for venue in venues().values() for name in (venue.broker, venue.may_withdraw) if name]
    named += [sink.opens for sink in sinks().values()]
    assert len(named) >= 14
    assert all(callable(function(name)) for name in named)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with the entry points of a broker, and of one whose kind is taken."""
    record = "from quantd.adapters.brokers.venue import Venue\nOTHER = Venue('theirs')\nTAKEN = Venue('alpaca')\n"
    (tmp_path / "their_broker.py").write_text(record)
    info = tmp_path / "their_broker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-broker\nVersion: 1.0\n")
    points = "[quantd.test]\ntheirs = their_broker:OTHER\n[quantd.taken]\nalpaca = their_broker:TAKEN\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("package")
def test_an_entry_point_of_another_package_adds_a_record() -> None:
    venue_records = records("quantd.adapters.brokers", Venue, "quantd.test")
    assert set(venue_records) == {*venues(), "theirs"}


@pytest.mark.usefixtures("package")
def test_two_records_of_one_kind_are_refused() -> None:
    with pytest.raises(FaultyRecord, match='"alpaca" has a record already'):
        records("quantd.adapters.brokers", Venue, "quantd.taken")

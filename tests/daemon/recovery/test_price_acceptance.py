"""A run begun before its prices were questioned goes on after a restart; a CRITICAL alert has the table of the stop.

`unsound` is a run of version 16991315 over four symbols, stopped in order after their faults: a 9:1 split that no
action announces, a 10:1 split and a dividend of 57 % that the prices do not show, and a bar out of all proportion.
That version itself ended it with an equity of 253572.894098; EQUITY is that of the present code.
"""

import json
from pathlib import Path

import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, parts_of
from quantd.daemon.config import load
from quantd.daemon.recovery.price_acceptance import (
    FILE,
    Acceptance,
    NotAccepted,
    accept,
    acceptance,
    alert_of,
    unaccepted,
)
from quantd.daemon.recovery.stored_run import CannotStart, this_run, with_record
from tests.recorded_runs import processor
from tests.recorded_runs.archive import place, unpack
from tests.support.command_line import quantd

STORE = Path(__file__).parent / "earlier_stores" / "unsound.tar.xz"
RUN = "4e8rrdve"
EQUITY = "253427.053317"

TABLE = (
    "near a 9:1 split, and no action announces one",
    "SPLIT has a 10:1 split on 2018-05-25 in the actions, and the prices do not show it",
    "PAID pays a dividend of",
    "57% of the close before, and the price does not show it",
    "CRASH on 2018-06-11 is out of all proportion to the bars before",
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The store, as version 16991315 left it."""
    unpack(STORE, tmp_path)
    place(tmp_path)
    return tmp_path


def parts(folder: Path) -> Assembly:
    assembly = parts_of(load(folder / "config.toml", known_names(), environ={}), 0)
    assert isinstance(assembly, Assembly)
    return assembly


def test_a_run_of_before_continues_and_a_new_one_over_the_same_prices_does_not_begin(run_folder: Path) -> None:
    assembly = parts(run_folder)
    assert [words for words in TABLE if words not in assembly.unsound] == []
    with Store.open(run_folder / "state") as store:
        assert this_run(assembly, store) == RUN
        with pytest.raises(CannotStart, match="no action announces one"):
            this_run(assembly, store, fresh=True)
        assert store.current_run() == RUN, "the run was not ended"


def test_a_run_over_levels_that_its_configuration_accepts_goes_on_with_the_bars_of_its_record(run_folder: Path) -> None:
    """The version of the record left the first bars of a level out; they are used in a run that begins now."""
    config = run_folder / "config.toml"
    config.write_text(config.read_text().replace("[feed]\n", '[feed]\njumps = "real"\n', 1))
    assembly = parts(run_folder)
    with Store.open(run_folder / "state") as store:
        with pytest.raises(CannotStart, match="another feed file or selection"):
            this_run(assembly, store)
        recorded = with_record(assembly, store)
        assert this_run(recorded, store) == RUN
        assert isinstance(recorded, Assembly)
        assert len(recorded.feed.quarantined) > len(assembly.feed.quarantined)
        assert with_record(recorded, store) is recorded
        store.finish(RUN, 1, "a test")
        assert with_record(assembly, store) is assembly, "a run that begins now has the bars of today's rule"


def test_the_alert_has_the_whole_table_and_the_command_until_exactly_this_table_is_accepted(run_folder: Path) -> None:
    assembly, folder = parts(run_folder), run_folder / "state"
    text = alert_of(unaccepted(assembly, folder), 5).detail
    assert [words for words in (*TABLE, "quantd data check --accept TEXT") if words not in text] == []
    done = quantd(run_folder, "data", "check", "--accept", "the gains of LEVEL are known to be wrong", "--json")
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["reason"] == "the gains of LEVEL are known to be wrong"
    assert "@" in output["who"]
    record = acceptance(folder, assembly.unsound)
    assert record == Acceptance(output["prices"], output["at"], output["who"], output["reason"], output["table"])
    assert unaccepted(assembly, folder) == ""
    (run_folder / "actions.csv").write_text((run_folder / "actions.csv").read_text() + "2018-04-02,CALM,split,4:1,\n")
    assert "CALM has a 4:1 split" in unaccepted(parts(run_folder), folder)


def test_an_acceptance_needs_a_reason_and_a_fault(run_folder: Path) -> None:
    without = quantd(run_folder, "data", "check", "--accept", "  ")
    assert (without.returncode, "has no reason" in without.stderr) == (2, True)
    answers = ("feed.actions=''", "feed.jumps='real'", "feed.spikes='real'")
    sets = [word for answer in answers for word in ("--set", answer)]
    sound = quantd(run_folder, "data", "check", "--accept", "x", *sets)
    assert (sound.returncode, "nothing to accept" in sound.stderr) == (1, True)
    assert not (run_folder / "state" / FILE).exists()


def test_a_damaged_file_of_acceptances_accepts_nothing_and_is_named(tmp_path: Path) -> None:
    accept(tmp_path, "a table", "ann@desk", "known", 10**18)
    assert acceptance(tmp_path, "a table") is not None
    assert acceptance(tmp_path, "another table") is None
    with (tmp_path / FILE).open("a") as file:
        file.write("{\n")
    with pytest.raises(NotAccepted, match=rf"{FILE}:2 is no acceptance"):
        acceptance(tmp_path, "a table")


@pytest.mark.long
def test_the_run_goes_on_to_its_end_and_the_alert_ends_with_the_acceptance(run_folder: Path) -> None:
    if why := processor.unsuited():
        pytest.skip(why)
    done = quantd(run_folder, "run", "--json", "--quiet", "--set", "feed.pace=fast")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["run"], summary["equity"]) == (RUN, EQUITY)
    assert levels(run_folder) == ["CRITICAL"]
    assert quantd(run_folder, "run", "--json", "--quiet", "--set", "feed.pace=fast").returncode == 0
    assert levels(run_folder) == ["CRITICAL", "CRITICAL"], "again with each start"
    assert quantd(run_folder, "data", "check", "--accept", "known").returncode == 0
    assert quantd(run_folder, "run", "--json", "--quiet", "--set", "feed.pace=fast").returncode == 0
    assert levels(run_folder) == ["CRITICAL", "CRITICAL"]


def levels(folder: Path) -> list[str]:
    """The levels of the alerts about prices."""
    done = quantd(folder, "alerts", "--json", "--last", "1000")
    return [alert["level"] for alert in json.loads(done.stdout)["alerts"] if alert["kind"] == "job_prices"]

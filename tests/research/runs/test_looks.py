"""The number of trials is true: each configuration once, and a ledger that was changed is not believed."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.models.artifacts.loader import load_artifact
from quantd.research.runs.looks import NAME, note_looks, read_looks, trial_digest, try_note_looks
from quantd.research.runs.trials import Known
from tests.support.checkout import SHIPPED
from tests.support.command_line import answer, quantd, write
from tests.support.looks import look, traded, walk_of


def noted(folder: Path, *names: str) -> Known:
    return note_looks(folder, [look(name) for name in names])


def lines(folder: Path) -> list[bytes]:
    return (folder / NAME).read_bytes().splitlines(keepends=True)


def test_a_repeated_trial_counts_once_and_its_newest_ratio_holds(tmp_path):
    for trial in (look("a"), look("b", 2.0), look("a"), look("a", 1.5)):
        ledger = note_looks(tmp_path / "state", [trial])
    assert {one.digest: one.sharpe for one in ledger.looks} == {"a": 1.5, "b": 2.0}
    assert ledger.trials == 2
    assert read_looks(tmp_path / "state") == ledger
    assert len(lines(tmp_path / "state")) == 3


def test_a_line_that_was_not_written_completely_is_written_again(tmp_path):
    noted(tmp_path, "a", "b")
    (tmp_path / NAME).write_bytes(b"".join(lines(tmp_path)) + lines(tmp_path)[0][:40])
    ledger = noted(tmp_path, "c")
    assert ledger.fault == ""
    assert [json.loads(line)["look"]["digest"] for line in lines(tmp_path)] == ["a", "b", "c"]


def test_a_deleted_ledger_makes_the_trials_unknown_for_good(tmp_path):
    noted(tmp_path, "a", "b", "c")
    (tmp_path / NAME).unlink()
    assert read_looks(tmp_path).trials is None
    ledger = noted(tmp_path, "d")
    assert ledger.trials is None
    assert "had 3 looks" in ledger.fault
    again = noted(tmp_path, "e")
    assert again.trials is None
    assert "had 3 looks" in again.fault
    assert noted(tmp_path, "f", "g", "h").trials is None, "it is as long as before"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_or_removed_line_makes_the_trials_unknown(tmp_path, number):
    noted(tmp_path, "a", "b", "c")
    chain = lines(tmp_path)
    (tmp_path / NAME).write_bytes(b"".join(chain).replace(chain[number], chain[number].replace(b"1.0", b"9.0")))
    assert f"{NAME} was changed in one of its first 3 lines" in read_looks(tmp_path).fault
    (tmp_path / NAME).write_bytes(b"".join(chain[:number] + chain[number + 1 :]))
    assert read_looks(tmp_path).trials is None
    (tmp_path / NAME).write_bytes(b"".join(chain[:number]) + b"nonsense\n")
    assert f"{NAME}:{number + 1} is not a look" in noted(tmp_path, "d").fault


def append(arguments):
    folder, number = arguments
    for k in range(5):
        noted(folder, f"{number}-{k}")


def test_processes_that_write_together_lose_nothing(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(append, [(tmp_path, number) for number in range(8)]))
    ledger = read_looks(tmp_path)
    assert ledger.fault == ""
    assert ledger.trials == 40


@pytest.mark.long
def test_the_command_lists_the_looks_and_finds_a_changed_line(tmp_path):
    write(tmp_path)
    answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    answer(quantd(tmp_path, "study", "compare", "inverse_volatility", "--every", "day", "--json"))
    document = answer(quantd(tmp_path, "report", "--looks", "--json"))
    assert [row["kind"] for row in document["looks"]] == ["backtest", "study", "study"]
    assert document["trials"] == 3
    text = quantd(tmp_path, "report", "--looks").stdout
    assert "3 configurations. 3 trials known." in text
    assert text.count("SPY, QQQ, IWM 2019, daily") == 3
    assert "policy inverse_volatility, every day" in text
    path = tmp_path / "state" / NAME
    path.write_bytes(path.read_bytes().replace(b'"study"', b'"sweep"', 1))
    done = quantd(tmp_path, "report", "--looks")
    assert done.returncode == 1
    assert "The number of trials is unknown: " in done.stdout
    assert "Put a complete copy of looks.jsonl back, or into another folder that --state names" in done.stdout
    compared = quantd(tmp_path, "study", "compare", "inverse_volatility", "--every", "day")
    assert "An empty folder begins a new ledger" in compared.stdout
    assert "An empty folder begins a new ledger" in quantd(tmp_path, "backtest", "--no-compare").stdout


@pytest.mark.long
def test_a_family_is_named_on_the_command_line_and_listed(tmp_path):
    write(tmp_path)
    document = answer(quantd(tmp_path, "backtest", "--json", "--no-compare", "--family", "mine"))
    assert (document["trials"], document["trials_of"]) == (1, "SPY, QQQ, IWM 2019, daily, and of family mine")
    last_year = ("--from", "2018-03-01", "--to", "2018-05-31", "--no-compare", "--json")
    assert answer(quantd(tmp_path, "backtest", *last_year))["trials"] == 1
    assert answer(quantd(tmp_path, "backtest", *last_year, "--family", "mine"))["trials"] == 2
    head, *rows = quantd(tmp_path, "report", "--looks").stdout.splitlines()
    assert head.split()[-1] == "family"
    assert [row.split()[-1] for row in rows[:2]] == ["mine", "mine"]
    refused = quantd(tmp_path, "backtest", "--family", "a\nb")
    assert refused.returncode == 2
    assert "printable characters" in refused.stderr


def test_the_remedy_for_a_lost_ledger_holds(tmp_path):
    """A whole copy is believed, back in its folder and elsewhere; an empty folder counts its own looks only."""
    noted(tmp_path / "old", "a", "b", "c")
    content = (tmp_path / "old" / NAME).read_bytes()
    (tmp_path / "old" / NAME).unlink()
    lost = noted(tmp_path / "old", "d")
    assert lost.trials is None
    assert "another folder" in lost.remedy
    (tmp_path / "old" / NAME).write_bytes(content)
    assert noted(tmp_path / "old", "d").trials == 4
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / NAME).write_bytes(content)
    assert noted(tmp_path / "copy", "d").text == "4 trials known."
    assert noted(tmp_path / "empty", "d").trials == 1


def test_a_folder_that_cannot_be_written_is_named_with_its_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    ledger = try_note_looks(tmp_path / "file", [look("a")])
    assert ledger.trials is None
    assert "Make the state folder writable" in ledger.text


@pytest.mark.requirement("R-246")
def test_seeds_checkpoints_and_test_looks_behind_a_model_count_once(tmp_path):
    models = {"net": 12}
    ledger = note_looks(tmp_path, [look("a", models=models), look("b", models=models), look("c")])
    assert ledger.trials == 3 + 11


def test_cards_know_the_trials_behind_a_policy():
    (scorer,) = load_artifact(SHIPPED / "scorer", {}).candidates.values()
    assert scorer == 5 + 1  # five seeds, and a second look at the test part
    manifest = json.loads((SHIPPED / "ppo" / "manifest.json").read_text())
    checkpoints = manifest["plan"]["steps"] // manifest["plan"]["evaluate_every"]
    (ppo,) = load_artifact(SHIPPED / "ppo", {}).candidates.values()
    assert ppo == 5 * checkpoints + 1 > 6


def test_the_trials_of_a_search_for_settings_count_as_those_of_the_policy():
    agent = load_artifact(SHIPPED / "ppo", {})
    manifest = agent.artifact.manifest
    (alone,) = agent.candidates.values()
    for given, counted in ((140, 140), (0, 0), (-5, 0)):
        tuned = replace(manifest, plan={**manifest.plan, "tuning_trials": given})
        agent.artifact = replace(agent.artifact, manifest=tuned)
        assert agent.candidates == {manifest.digest: alone + counted}


def test_a_renamed_symbol_with_equal_returns_counts_and_another_one_does_not(tmp_path):
    spy = traded("a", "SPY", series=walk_of("SPY", 1))
    renamed, other = traded("b", "MINE", series=walk_of("MINE", 1)), traded("c", "ELSE", series=walk_of("ELSE", 2))
    ledger = note_looks(tmp_path, [spy, renamed, other])
    assert {trial.digest for trial in ledger.like(spy).looks} == {"a", "b"}
    assert read_looks(tmp_path) == ledger, "the ledger has the fingerprints"


def test_the_text_of_a_users_policy_is_part_of_what_was_tried(tmp_path):
    config = write(tmp_path)
    policy = tmp_path / "mine.py"
    sets = ("agents.trend.policy=mine.py:act", "agents.trend.params={}")

    def digest(*more: str) -> str:
        return trial_digest(assemble(read(config, (*sets, *more))))

    policy.write_text("def act(view): return 'hold'\n")
    before = digest()
    assert digest() == before
    assert digest("log.level=debug") == before
    assert digest("broker.commission_bp=2.0") != before
    assert digest("feed.end=2019-03-28") != before
    policy.write_text("def act(view): return [0.1, 0.1, 0.1]\n")
    assert digest() != before

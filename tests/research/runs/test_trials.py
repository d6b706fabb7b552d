"""The count of trials is true: each configuration once, whatever was interrupted."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.research.runs.trials import NAME, Trial, TrialsDamaged, note_trial, read_trials, trial_digest
from tests.support.command_line import write


def test_a_repeated_trial_counts_once_and_its_newest_ratio_holds(tmp_path: Path) -> None:
    for trial in (Trial("a", 1.0, 252), Trial("b", 2.0, 252), Trial("a", 1.0, 252), Trial("a", 1.5, 252)):
        known = note_trial(tmp_path / "state", trial)
    assert sorted((t.digest, t.sharpe) for t in known) == [("a", 1.5), ("b", 2.0)]
    assert sorted(read_trials(tmp_path / "state"), key=str) == sorted(known, key=str)
    assert len((tmp_path / "state" / NAME).read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_is_named_and_nothing_is_glued_to_it(tmp_path: Path) -> None:
    note_trial(tmp_path, Trial("a", 1.0, 252))
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes() + b'{"digest":"b","sha')
    with pytest.raises(TrialsDamaged, match=r"trials\.jsonl:2 .*delete that line"):
        note_trial(tmp_path, Trial("c", 1.0, 252))
    path.write_bytes(path.read_bytes().splitlines()[0])
    assert len(note_trial(tmp_path, Trial("c", 1.0, 252))) == 2


def test_ratios_of_other_years_are_compared_by_sample() -> None:
    assert Trial("a", 2.0, 400).sharpe_sample == pytest.approx(0.1)


def test_the_text_of_a_users_policy_is_part_of_what_was_tried(tmp_path: Path) -> None:
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

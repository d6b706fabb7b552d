"""`quantd doctor --report`: the checks as a page for another person."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from quantd.server.cli.setup.doctor_checks import Check
from quantd.server.cli.setup.readiness import BY_HAND, readiness
from tests.support.checkout import ROOT
from tests.support.command_line import quantd, write

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHECKS = [Check("mode", True, 'mode = "live"'), Check("keys", None, "not\nchecked | here")]


@pytest.mark.requirement("R-229")
def test_the_report_has_every_check_and_what_a_person_confirms() -> None:
    page = readiness(CHECKS, "desk", "live", True, NOW)
    assert page.startswith("# Readiness of quantd desk: ready\n\n- Time: 2026-01-02 03:04:05 UTC\n")
    assert '| mode | passed | mode = "live" |' in page
    assert "| keys | not checked | not checked \\| here |" in page
    assert page.count("- [ ] ") == len(BY_HAND)


@pytest.mark.requirement("R-229")
def test_one_failed_check_is_not_ready_and_checks_without_live_are_no_readiness() -> None:
    failed = [*CHECKS, Check("disk", False, "full"), Check("disk", False, "slow")]
    page = readiness(failed, "desk", "live", True, NOW)
    assert "desk: not ready\n" in page
    assert "- Failed: disk (2 of 4 checks)\n" in page
    assert "desk: in order\n" in readiness(CHECKS, "desk", "paper", False, NOW)


@pytest.mark.requirement("R-229")
def test_the_command_prints_the_report_only_with_the_code_of_its_checks(tmp_path: Path) -> None:
    write(tmp_path)
    done = quantd(tmp_path, "doctor", "--live", "--report")
    assert (done.returncode, done.stdout.startswith("# Readiness of quantd ")) == (1, True)
    assert "| mode | FAILED |" in done.stdout
    assert "| paper run | FAILED |" in done.stdout
    wrong = quantd(tmp_path, "doctor", "--report", "--set", "risk.max_drawdwon=1")
    assert (wrong.returncode, "max_drawdwon" in wrong.stdout, "not ready" in wrong.stdout) == (1, True, True)


@pytest.mark.requirement("R-229")
def test_pages_that_the_report_names_are_there() -> None:
    named = [word.strip("()") for text in BY_HAND for word in text.split() if "docs/" in word]
    assert len(named) >= 4
    assert [page for page in named if not (ROOT / page).is_file()] == []

"""The short form of the fuzz of system calls: whatever a policy file calls, the daemon trades on."""

from pathlib import Path

import pytest

from quantd.models.isolation.confinement import missing
from tests.attacks.call_fuzz import BEGINS, COMMANDS, ENDS, FITS, NUMBERS, PAGE, REMAINS, fuzzed, page


@pytest.mark.long
@pytest.mark.skipif(not FITS or bool(missing()), reason=f"needs x86_64, and {', '.join(missing()) or 'nothing more'}")
def test_no_system_call_of_a_policy_file_reaches_beyond_its_process(tmp_path: Path) -> None:
    outcome = fuzzed(tmp_path)
    assert outcome.faults == []
    assert outcome.allowed | outcome.refused | outcome.vain == {*NUMBERS, *COMMANDS} - {"exit_group", "rt_sigreturn"}
    listed = {name for names in REMAINS.values() for name in names.split()}
    assert outcome.refused >= set(COMMANDS)
    assert outcome.allowed - listed == set(), "REMAINS in tests/attacks/call_fuzz.py lacks these"
    assert any(path.endswith("mine.py") for path in outcome.opened)


def test_the_page_lists_what_remains_possible() -> None:
    assert f"all {len(NUMBERS)} system calls" in PAGE.read_text()
    assert PAGE.read_text().partition(BEGINS)[2].partition(ENDS)[0] == page()
    names = [name for group in REMAINS.values() for name in group.split()]
    assert len(names) == len(set(names))
    assert set(names) <= set(NUMBERS)

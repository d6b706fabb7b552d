"""Each plan of the fold keeps the guarantee of the gate."""

import pytest

from tests.proofs.adversary import folded


@pytest.mark.long
@pytest.mark.requirement("R-166")
def test_no_state_after_a_plan_of_the_fold_breaks_a_limit() -> None:
    """The long form: python -m tests.proofs.adversary.folded --intents 200000."""
    tally = folded.Tally()
    for seed in (0, 1):
        folded.judge_world(seed, tally)
    assert tally.wrong == []
    assert min(tally.intents / 10, tally.cut, tally.states / 100) > 200

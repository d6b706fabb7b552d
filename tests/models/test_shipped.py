"""What is shipped is what it says, and knows nothing of the days of the default run."""

from pathlib import Path

import pytest

from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST
from tests.support.checkout import ROOT

SHIPPED = sorted(each.parent for each in (ROOT / "models" / "shipped").glob(f"*/{MANIFEST}"))

FIRST_OF_THE_DEFAULT_RUN = 1_546_387_200 * 10**9
"""2019-01-02 00:00 UTC."""

LARGEST = 20 * 2**20


@pytest.mark.requirement("R-071")
def test_there_is_one_of_each_learner_and_of_each_profile() -> None:
    assert {folder.name for folder in SHIPPED} >= {
        "a2c", "dqn", "full", "lite", "ppo", "sac", "scorer", "transformer",
    }  # fmt: skip


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_artifact_is_whole_small_and_blind_to_the_default_run(folder: Path) -> None:
    policy = load_artifact(folder, {})
    assert policy.trained_until_ns <= FIRST_OF_THE_DEFAULT_RUN
    assert sum(each.stat().st_size for each in folder.iterdir()) <= LARGEST
    card = (folder / "card.md").read_text()
    assert "Made by: `" in card
    assert "equal weight" in card or "plain" in card

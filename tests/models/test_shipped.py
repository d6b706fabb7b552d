"""What is shipped is what it says, and knows nothing of the days of the default run."""

from pathlib import Path

import pytest

from quantd.models.artifacts.loader import checked, load_artifact
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest, ScorerManifest
from scripts.likeness import measured, policies
from tests.support.checkout import ROOT

SHIPPED = sorted(path.parent for path in (ROOT / "models" / "shipped").glob(f"*/{MANIFEST}"))

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
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST
    card = (folder / "card.md").read_text()
    assert "Made by: `" in card
    assert "equal weight" in card or "plain" in card


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("folder", policies(), ids=lambda folder: folder.name)
def test_a_policy_that_is_equal_weight_or_one_asset_says_so_on_the_first_line_of_its_card(folder: Path) -> None:
    """The weights of each decision on the bundled bars after its training are measured again."""
    likeness, manifest = measured(folder), checked(folder).manifest
    assert isinstance(manifest, AgentManifest | ScorerManifest)
    kept = manifest.likeness
    assert kept is not None
    assert (likeness.window, likeness.decisions, likeness.asset) == (kept.window, kept.decisions, kept.asset)
    for name in ("equal_weight", "single", "cash"):
        assert getattr(likeness, name) == pytest.approx(getattr(kept, name), abs=2e-4), name
    first = (folder / "card.md").read_text().partition("\n")[0]
    near = min(likeness.equal_weight, likeness.single)
    if near >= 0.05:
        assert first == f"# {folder.name}"
        return
    what = "equal weight" if near == likeness.equal_weight else likeness.asset
    assert first.startswith(f"**This is {what} in disguise.** Its weights lie {near:.4f} from it")


def test_the_shipped_policies_in_disguise_are_these() -> None:
    disguises = {folder.name: checked(folder).manifest.likeness.disguise for folder in policies()}
    assert disguises == {
        "a2c": "equal weight", "dqn": "", "full": "", "lite": "", "ppo": "equal weight", "sac": "QQQ",
        "scorer": "equal weight", "transformer": "QQQ",
    }  # fmt: skip

"""The cards of the shipped artifacts, made again from their manifests, are those in their folders."""

import pytest
from msgspec.structs import replace

from quantd.models.artifacts.card import agent_card, forest_card, scorer_card, tuned
from quantd.models.artifacts.loader import checked
from quantd.models.artifacts.manifest import AgentManifest, ForestManifest, ScorerManifest
from quantd.training.plans.plan import restored
from quantd.training.runs.scorer_run import Plan
from tests.support.checkout import ROOT

SHIPPED = ROOT / "models" / "shipped"
PARTS = ("train", "validation", "test")
SETTINGS = ("streams", "noisy", "layers", "heads", "widening", "samples")
"""In the order of training: a manifest has its keys in alphabetical order."""


def test_a_tuned_policy_names_the_trials_of_its_search() -> None:
    manifest = checked(SHIPPED / "ppo").manifest
    assert isinstance(manifest, AgentManifest)
    assert tuned(manifest) == []
    (line,) = tuned(replace(manifest, plan={**manifest.plan, "tuning_trials": 1_140}))
    assert "in 1,140 trials of `quantd tune`" in line


@pytest.mark.parametrize("name", ["ppo", "scorer"])
def test_the_power_line_is_the_first_of_the_results_and_changes_nothing_else(name: str) -> None:
    manifest = checked(SHIPPED / name).manifest
    assert isinstance(manifest, AgentManifest | ScorerManifest)
    assert manifest.power == ""
    before = card_of(manifest).splitlines()
    after = card_of(replace(manifest, power="a signal of IC 1 could have been seen here.")).splitlines()
    head = next(place for place, line in enumerate(before) if line.startswith("| part | policy |"))
    assert after[:head] == before[:head]
    assert after[head] == "**Power.** a signal of IC 1 could have been seen here."
    assert after[head + 1 :] == ["", *before[head:]]


def card_of(manifest: AgentManifest | ScorerManifest) -> str:
    if isinstance(manifest, ScorerManifest):
        return scorer_card(manifest, Plan().costs, Plan().cash)
    market = restored(manifest.plan).market
    return agent_card(manifest, market.costs, market.capital, market.lots(manifest.universe))


@pytest.mark.parametrize("name", sorted(folder.name for folder in SHIPPED.iterdir()))
def test_a_card_is_made_again_to_the_last_byte(name: str) -> None:
    manifest = checked(SHIPPED / name).manifest
    if isinstance(manifest, ForestManifest):
        card = forest_card(manifest)
    elif isinstance(manifest, AgentManifest):
        market, network = restored(manifest.plan).market, manifest.network
        settings = {key: network.settings[key] for key in SETTINGS if key in network.settings}
        results = {part: manifest.results[part] for part in PARTS}
        manifest = replace(manifest, results=results, network=replace(network, settings=settings))
        card = agent_card(manifest, market.costs, market.capital, market.lots(manifest.universe))
    else:
        assert isinstance(manifest, ScorerManifest)
        manifest = replace(manifest, results={part: manifest.results[part] for part in PARTS})
        card = scorer_card(manifest, Plan().costs, Plan().cash)
    assert card == (SHIPPED / name / "card.md").read_text(encoding="utf-8")

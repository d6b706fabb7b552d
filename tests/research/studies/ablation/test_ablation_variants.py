"""The variants of a plan: what is left out, what stays, and the parts that a plan does not have."""

import msgspec
import pytest

from quantd.research.studies.ablation.ablation_variants import (
    GROUPS,
    LIMITS,
    PARTS,
    features_of,
    names_of,
    variant,
)
from quantd.training.plans.plan import Plan, default, replaced
from tests.support.studies import plan


@pytest.mark.requirement("R-255")
def test_each_feature_of_the_requirement_is_in_one_group() -> None:
    of = {
        "daily_return_3": "returns, short", "momentum_5": "returns, short", "momentum_21": "returns, short",
        "momentum_63": "returns, long", "momentum_126": "returns, long", "momentum_252.rank": "returns, long",
        "rsi_14": "RSI", "macd_histogram": "MACD", "bollinger_width": "Bollinger", "volatility_20": "volatility",
        "esg": "ESG", "sentiment": "sentiment", "vix_level": "VIX", "yield_10": "yield",
    }  # fmt: skip
    for name, group in of.items():
        assert [group_name for group_name, names in GROUPS.items() if names.search(name)] == [group], name


def test_a_plan_without_a_group_keeps_every_other_setting() -> None:
    full = plan(**{"sight.columns": ["rsi_14"]})
    part = variant(full, "returns, long")
    assert part.plan is not None
    assert part.left_out == ("momentum_63", "momentum_126")
    assert set(features_of(full)) - set(features_of(part.plan)) == set(part.left_out)
    assert changed(full, part.plan) == {"sight"}


def changed(one: Plan, two: Plan) -> set[str]:
    return {name for name in one.__struct_fields__ if getattr(one, name) != getattr(two, name)}


@pytest.mark.requirement("R-255")
@pytest.mark.parametrize(
    ("agent", "profile", "changes", "name", "key", "value"),
    [
        ("ppo", "", {"learner.network": "lstm", "learner.hidden": [8]}, "memory", "learner.network", "mlp"),
        ("ppo", "window", {}, "memory", "sight.window", 0),
        ("maddpg", "full", {}, "memory", "sight.window", 0),
        ("a2c", "", {}, "critic", "learner.value_weight", 0.0),
        ("ppo", "", {"market.reward.drawdown_penalty": 0.5}, "drawdown penalty", "market.reward.drawdown_penalty", 0.0),
        ("ppo", "", {"market.reward.turnover_penalty": 0.5}, "turnover penalty", "market.reward.turnover_penalty", 0.0),
        ("ppo", "", {"market.reward.kind": "composite"}, "risk penalty", "market.reward.composite.risk", 0.0),
        ("maddpg", "full", {}, "diversity penalty", "market.diversity.weight", 0.0),
        ("maddpg", "lite", {}, "agents' drawdown penalty", "market.seats", None),
        ("ppo", "", {"sight.columns": ["regime_bull"], "sight.benchmark": "SPY"}, "regime", "sight.columns", ()),
    ],
)
def test_a_part_of_a_learner_is_left_out(
    agent: str, profile: str, changes: dict, name: str, key: str, value: object
) -> None:
    full = replaced(default(agent, profile), changes)
    part = variant(full, name)
    assert part.plan is not None, part.missing
    setting: object = part.plan
    for field in key.split("."):
        setting = getattr(setting, field)
    if value is None:
        assert {entry.drawdown_penalty for entry in part.plan.market.seats} == {0.0}
    else:
        assert setting == value
    assert part.plan != full
    assert part.left_out


@pytest.mark.requirement("R-255")
def test_a_part_that_a_plan_does_not_have_says_so() -> None:
    bare = plan(**{"learner.value_weight": 0.0})
    for name in PARTS:
        part = variant(bare, name)
        assert part.plan is None
        assert part.missing.startswith(f"the plan has no {name}"), part
    assert variant(bare, "agents").missing == "the plan has no agents: ppo is one"
    assert variant(default("sac"), "critic").missing.startswith("the plan has no critic beside its policy")
    assert names_of(bare)[-2:] == ("agents", LIMITS)


@pytest.mark.requirement("R-255")
@pytest.mark.parametrize("gains", [False, True])
def test_without_memory_a_shared_network_stays_and_loses_its_window_alone(gains: bool) -> None:
    shared = plan(**{"learner.network": "shared", "learner.gains": gains})
    assert variant(shared, "memory").missing == "the plan has no memory: its network is shared, and sight.window is 0"
    part = variant(replaced(shared, {"sight.window": 20}), "memory")
    assert part.plan is not None
    assert part.plan.sight.window == 0
    assert part.plan.learner == shared.learner
    assert part.left_out == ("sight.window = 20",)


@pytest.mark.requirement("R-255")
def test_a_joint_learner_without_an_agent_sees_as_many_sessions() -> None:
    full = default("maddpg", "lite")
    names = [name for name in names_of(full) if name.startswith("agent ")]
    assert names == ["agent defensive", "agent careful", "agent balanced", "agent growth"]
    part = variant(full, "agent careful").plan
    assert part is not None
    assert [agent.name for agent in part.market.seats] == ["defensive", "balanced", "growth"]
    assert part.learner.agents == 3  # type: ignore[union-attr]
    for count in ("steps", "evaluate_every"):
        assert getattr(part, count) * 4 == getattr(full, count) * 3
    assert part.market.batch // 3 == full.market.batch // 4  # desks
    two = msgspec.to_builtins(full.market.seats[:2])
    pair = replaced(full, {"market.seats": two, "learner.agents": 2})
    assert variant(pair, "agent careful").plan is None

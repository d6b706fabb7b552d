"""Sizing and rebalancing as a configuration says them: what is built, in which order, and what a mistake looks like."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config, ConfigError, load
from quantd.daemon.policies.composed import policy_of
from quantd.daemon.policies.loading import PolicyError
from quantd.strategies.policies.equal_weight import EqualWeight
from quantd.strategies.policies.rebalancing import CostAware, Rebalanced
from quantd.strategies.policies.sizing import Sized, SizingRules
from tests.support.checkout import ROOT
from tests.support.command_line import one_agent, write

COSTS = "commission_bp = 3.0\nspread_bp = 4.0\nslippage_bp = 1.0\n[risk]"


def config(folder: Path, agent: str, policy: str = "equal_weight") -> Config:
    text = one_agent(("SPY", "QQQ", "IWM"), policy, agent=agent, path=f"{ROOT}/data/us_daily.parquet")
    return load(write(folder, text.replace("[risk]", COSTS)), known_names())


def line_of(folder: Path, text: str) -> int:
    return (folder / "config.toml").read_text().splitlines().index(text.strip()) + 1


def rules_in(tmp_path, agent):
    configuration = config(tmp_path, agent)
    return policy_of(configuration, configuration.instruments(), configuration.agents[0], lambda weights: 1.0)


def test_what_is_sized_is_rebalanced_towards(tmp_path):
    policy = rules_in(tmp_path, 'sizing = { volatility_target = 0.1 }\nrebalance = { when = "calendar" }\n')
    assert isinstance(policy, Rebalanced)
    sized = policy.policy.policy
    assert isinstance(sized, Sized)
    assert sized.rules == SizingRules(volatility_target=0.1)
    assert isinstance(sized.policy.policy, EqualWeight)


def test_costs_are_the_brokers_unless_they_are_given(tmp_path):
    policy = rules_in(tmp_path, "rebalance = { cost_aware = {} }\n")
    assert isinstance(policy, Rebalanced)
    assert policy.rules.cost_aware == CostAware(cost_bp=3.0 + 2.0 + 1.0)
    policy = rules_in(
        tmp_path, 'rebalance = { cost_aware = { cost_bp = 20, fixed = "1.00" }, min_notional = "100.00" }\n'
    )
    assert isinstance(policy, Rebalanced)
    assert policy.rules.cost_aware == CostAware(cost_bp=20.0, fixed=1.0)
    assert policy.rules.min_notional == 100.0


@pytest.mark.parametrize(
    ("written", "risk_drift"),
    [("", 0.03), (", drift = 0.1", 1.0), (", risk_drift = 0.02", 0.02), (", drift = 0.1, risk_drift = 0.02", 0.02)],
)
def test_a_drift_of_weights_alone_is_not_overruled_by_one_of_risk(tmp_path, written, risk_drift):
    policy = rules_in(tmp_path, f'rebalance = {{ when = "threshold"{written} }}\n')
    assert isinstance(policy, Rebalanced)
    assert policy.rules.risk_drift == risk_drift
    # a bound that is off does not wait for the samples of its covariance
    assert (policy.lookback >= policy.rules.lookback) == (risk_drift < 1.0)


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("sizing = { volatility_target = 12 }\n", "volatility_target = 12 is a percentage"),
        ("sizing = { volatilty_target = 0.1 }\n", "Did you mean volatility_target?"),
        ("sizing = { kelly = 0 }\n", "kelly = 0 is too small"),
        ('rebalance = { when = "sometimes" }\n', "sometimes"),
        ('rebalance = { when = "event", events = [] }\n', "is empty"),
        ('rebalance = { when = "event", events = ["moon"] }\n', "moon"),
        ("rebalance = { cost_aware = { cost_bp = -1 } }\n", "is negative"),
        ("rebalance = { min_notional = 100.5 }\n", "without exact decimals"),
    ],
)
def test_a_mistake_names_its_line_and_what_to_write(tmp_path, agent, text):
    with pytest.raises(ConfigError) as refused:
        config(tmp_path, agent)
    said = str(refused.value)
    assert text in said
    assert f"config.toml:{line_of(tmp_path, agent)}" in said


def test_a_policy_that_cannot_be_loaded_names_the_agent_and_the_line(tmp_path):
    members = 'params = { members = [{ policy = "hold" }, { policy = "mometum" }] }'
    configuration = config(tmp_path, members, "ensemble")
    with pytest.raises(PolicyError) as refused:
        assemble(configuration, cache=tmp_path / "cache")
    said = str(refused.value)
    line = line_of(tmp_path, 'policy = "ensemble"')
    assert (
        f"config.toml:{line}: [[agents]] \"even\": params.members[1].policy: there is no policy 'mometum'; did you "
        f"mean 'momentum'?" in said
    )

"""Sizing and rebalancing as a configuration says them: what is built, in which order, and what a mistake looks like."""

import numpy as np
import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import ConfigError, load
from quantd.daemon.policies.composed import policy_of, rebalance_of, sizing_of
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.recovery.start import begin
from quantd.research.runs.run_record import Record
from quantd.strategies.policies.equal_weight import EqualWeight
from quantd.strategies.policies.members import leaves_with_memory
from quantd.strategies.policies.rebalancing import CostAware, Rebalanced, RebalanceRules
from quantd.strategies.policies.sizing import Sized, SizingRules
from quantd.trading.effects import Planned
from tests.support.checkout import ROOT
from tests.support.engine import Kept

HEAD = f"""\
[universe]
symbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2020-01-02
end = 2020-06-30
[broker]
cash = "100000.00"
commission_bp = 3.0
spread_bp = 4.0
slippage_bp = 1.0
[risk]
max_gross_exposure = 1.0
[[agents]]
name = "one"
capital = 1.0
"""


def config(tmp_path, agent):
    path = tmp_path / "config.toml"
    path.write_text(HEAD + agent)
    return load(path, known_names())


def rules_in(tmp_path, agent):
    configuration = config(tmp_path, 'policy = "equal_weight"\n' + agent)
    return policy_of(configuration, configuration.instruments(), configuration.agents[0], lambda weights: 1.0)


def test_without_rules_the_policy_is_asked_as_it_is(tmp_path):
    assert isinstance(rules_in(tmp_path, ""), EqualWeight)


def test_what_is_sized_is_rebalanced_towards(tmp_path):
    policy = rules_in(tmp_path, 'sizing = { volatility_target = 0.1 }\nrebalance = { when = "calendar" }\n')
    assert isinstance(policy, Rebalanced)
    sized = policy.policy.policy
    assert isinstance(sized, Sized)
    assert sized.rules == SizingRules(volatility_target=0.1)
    assert isinstance(sized.policy.policy, EqualWeight)


def test_what_is_inside_the_rules_is_found_with_its_own_memory(tmp_path):
    policy = rules_in(tmp_path, 'sizing = { volatility_target = 0.1 }\nrebalance = { when = "calendar" }\n')
    memory = {"policy/policy/own": np.ones(1), "policy/regime/since": np.ones(2), "rebalance/last": np.ones(2)}
    ((path, bare, leaf_memory),) = leaves_with_memory(policy, memory)
    assert (path, set(leaf_memory)) == ("", {"own"})
    assert isinstance(bare, EqualWeight)
    assert list(leaves_with_memory(bare, memory)) == [("", bare, memory)]


def test_defaults_of_the_tables_are_those_of_the_rules(tmp_path):
    agent = config(
        tmp_path, 'policy = "equal_weight"\nsizing = { kelly = 0.5 }\nrebalance = { when = "threshold" }\n'
    ).agents[0]
    assert sizing_of(agent.sizing) == SizingRules(kelly=0.5)
    assert rebalance_of(agent.rebalance, 0.0) == RebalanceRules(when="threshold")
    assert (RebalanceRules().drift, RebalanceRules().risk_drift) == (0.05, 0.03)


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
        config(tmp_path, 'policy = "equal_weight"\n' + agent)
    said = str(refused.value)
    assert text in said
    assert f"config.toml:{len(HEAD.splitlines()) + 2}" in said


def test_a_policy_that_cannot_be_loaded_names_the_agent_and_the_line(tmp_path):
    configuration = config(
        tmp_path, 'policy = "ensemble"\nparams = { members = [{ policy = "hold" }, { policy = "mometum" }] }\n'
    )
    with pytest.raises(PolicyError) as refused:
        assemble(configuration, cache=tmp_path / "cache")
    said = str(refused.value)
    line = len(HEAD.splitlines()) + 1
    assert (
        f"config.toml:{line}: [[agents]] \"one\": params.members[1].policy: there is no policy 'mometum'; did you "
        f"mean 'momentum'?" in said
    )


def test_a_parameter_of_a_composite_is_checked_with_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean members\?"):
        config(tmp_path, 'policy = "ensemble"\nparams = { membrs = [] }\n')


def months_traded(tmp_path, agent):
    """Month of each session at whose close something was sent."""
    parts = assemble(config(tmp_path, agent), cache=tmp_path / "cache")
    log = Kept()
    shell = parts.shell(log)
    begin(shell, parts, parts.config, "tried", fresh=True)
    for item in parts.items():
        shell.take(item)
    sent = (effect.ts for effect in log.effects if isinstance(effect, Planned) and effect.n)
    return [int(np.datetime64(ts, "ns").astype("datetime64[M]").astype(int)) % 12 + 1 for ts in sent]


def test_a_rebalance_that_is_not_due_sends_no_order(tmp_path):
    even = 'policy = "equal_weight"\nmin_trade = 0.0\n'
    assert len(months_traded(tmp_path, even)) > 100
    monthly = months_traded(tmp_path, even + 'rebalance = { when = "calendar" }\n')
    # each rebalance and at most two follow-ups, and with the warm-up over the first is January's
    assert set(monthly) == {1, 2, 3, 4, 5, 6}
    assert all(monthly.count(month) <= 3 for month in range(1, 7))


@pytest.mark.long
def test_an_agent_that_minds_costs_trades_less_the_dearer_its_venue(tmp_path):
    def traded(rule):
        parts = assemble(
            config(tmp_path, 'policy = "equal_weight"\nmin_trade = 0.0\n' + rule), cache=tmp_path / "cache"
        )
        record = Record(parts.universe)
        shell = parts.shell(record)
        begin(shell, parts, parts.config, "tried", fresh=True)
        for item in parts.items():
            shell.take(item)
        return record.traded

    plain, aware, dear = map(
        traded, ("", "rebalance = { cost_aware = {} }\n", "rebalance = { cost_aware = { cost_bp = 50 } }\n")
    )
    assert plain > 1.3 * aware > 1.3 * dear

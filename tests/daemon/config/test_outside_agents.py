"""policy = "external" in the file: in mode live an outside agent is a shadow, and it has no sizing of its own."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config, ConfigError, load
from quantd.daemon.engine.state.settings import Rules
from tests.support.command_line import CONFIG, write

EXTERNAL = """[[agents]]
name = "guest"
policy = "external"
capital = 0.1
"""


def beside(lines: str = "", guest: str = EXTERNAL) -> str:
    """A configuration with an outside agent of these lines."""
    return CONFIG.replace("[[schedules]]", guest + lines + "[[schedules]]", 1)


def loaded(folder: Path, text: str) -> Config:
    return load(write(folder, text), known_names())


def rules_of(folder: Path, text: str) -> Rules:
    return assemble(loaded(folder, text), cache=folder / "cache").rules


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("shadow = true\nsizing = { max_gross = 0.5 }\n", "pass the limits only"),
        ("shadow = true\nrebalance = { when = 'calendar' }\n", "pass the limits only"),
        ("approval = 'owner'\n", "approval"),
        ("shadow = true\nparams = { lookbak = 5 }\n", "is not a parameter of external"),
    ],
)
def test_a_key_that_an_outside_agent_does_not_have_is_refused_with_its_line(tmp_path, lines, words):
    with pytest.raises(ConfigError, match=r"config.toml:\d+: \[\[agents\]\] \"guest\"") as refused:
        loaded(tmp_path, beside(lines))
    assert words in str(refused.value)


def test_an_outside_agent_is_a_shadow_whose_policy_is_never_asked(tmp_path):
    rules = rules_of(tmp_path, beside('shadow = true\nchallenges = "trend"\n'))
    assert (rules.outside, rules.outside_seat("guest"), rules.outside_seat("trend")) == ((2,), 2, None)
    assert rules.shadows[0].outside == (2,)


@pytest.mark.parametrize("line", ["", "shadow = false\n"])
def test_an_outside_agent_may_trade_in_mode_paper_and_must_be_a_shadow_in_mode_live(tmp_path, line):
    rules = rules_of(tmp_path, text := beside(line))
    assert (rules.outside, rules.shadows) == ((2,), ())
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text.replace("[quantd]", '[quantd]\nmode = "live"', 1))
    remedy = 'write shadow = true and challenges = "AGENT", or live = true, so that it trades money at once'
    assert f"in mode live it trades after a promotion, or by permission; {remedy}" in str(refused.value)
    permitted = text.replace('policy = "external"', 'policy = "external"\nlive = true')
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, permitted.replace("[quantd]", '[quantd]\nmode = "live"', 1))
    assert "external" not in str(refused.value), "what else a live run needs is named still"
    assert "[quantd] mode" in str(refused.value)
    own = CONFIG.replace('policy = "momentum"', 'policy = "momentum"\nlive = true')
    with pytest.raises(ConfigError, match="permits an outside agent to trade money, and this agent has its own policy"):
        loaded(tmp_path, own)


def test_the_policy_by_which_a_backtest_asks_is_not_for_files(tmp_path):
    text = beside(guest=EXTERNAL.replace("external", "asked"))
    with pytest.raises(ConfigError, match=r'config.toml:\d+: .*"guest" policy = "asked".*write policy = "external"'):
        loaded(tmp_path, text)


def test_the_approval_of_a_person_is_for_outside_agents_that_trade(tmp_path):
    rules = rules_of(tmp_path, text := beside('approval = "person"\n'))
    assert (rules.outside, rules.reviewed) == ((2,), {2: 0})
    as_shadow = text.replace('approval = "person"', 'approval = "person"\nshadow = true\nchallenges = "trend"')
    rules = rules_of(tmp_path, as_shadow)
    assert (rules.reviewed, rules.shadows[0].reviewed) == ({2: 0}, {})
    with pytest.raises(ConfigError, match="applies to the proposals of an outside agent only"):
        loaded(tmp_path, beside('approval = "person"\n', guest=""))


def test_cut_is_for_the_orders_of_an_outside_agent(tmp_path):
    text = beside("cut = true\n")
    assert [agent.cut for agent in loaded(tmp_path, text).agents] == [False, False, True]
    with pytest.raises(
        ConfigError, match=r'config.toml:\d+: .*"even" cut applies to the orders of a program.*remove it'
    ):
        loaded(tmp_path, text.replace('name = "even"', 'name = "even"\ncut = true'))

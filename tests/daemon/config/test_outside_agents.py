"""policy = "external" in the file: in mode live an outside agent is a shadow, and it has no sizing of its own."""

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import ConfigError, load
from tests.support.command_line import CONFIG, write

EXTERNAL = """[[agents]]
name = "guest"
policy = "external"
capital = 0.1
"""


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
    text = CONFIG.replace("[[schedules]]", EXTERNAL + lines + "[[schedules]]", 1)
    with pytest.raises(ConfigError, match=r"config.toml:\d+: \[\[agents\]\] \"guest\"") as refused:
        load(write(tmp_path, text), known_names())
    assert words in str(refused.value)


def test_an_outside_agent_is_a_shadow_whose_policy_is_never_asked(tmp_path):
    text = CONFIG.replace("[[schedules]]", EXTERNAL + 'shadow = true\nchallenges = "trend"\n[[schedules]]', 1)
    config = load(write(tmp_path, text), known_names())
    rules = assemble(config, cache=tmp_path / "cache").rules
    assert (rules.outside, rules.outside_seat("guest"), rules.outside_seat("trend")) == ((2,), 2, None)
    assert rules.shadows[0].outside == (2,)


@pytest.mark.parametrize("line", ["", "shadow = false\n"])
def test_an_outside_agent_may_trade_in_mode_paper_and_must_be_a_shadow_in_mode_live(tmp_path, line):
    text = CONFIG.replace("[[schedules]]", EXTERNAL + line + "[[schedules]]", 1)
    config = load(write(tmp_path, text), known_names())
    rules = assemble(config, cache=tmp_path / "cache").rules
    assert (rules.outside, rules.shadows) == ((2,), ())
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, text.replace("[quantd]", '[quantd]\nmode = "live"', 1)), known_names())
    remedy = 'write shadow = true and challenges = "AGENT", or live = true, so that it trades money at once'
    assert f"in mode live it trades after a promotion, or by permission; {remedy}" in str(refused.value)
    permitted = text.replace('policy = "external"', 'policy = "external"\nlive = true')
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, permitted.replace("[quantd]", '[quantd]\nmode = "live"', 1)), known_names())
    assert "external" not in str(refused.value), "what else a live run needs is named still"
    assert "[quantd] mode" in str(refused.value)
    own = CONFIG.replace('policy = "momentum"', 'policy = "momentum"\nlive = true')
    with pytest.raises(ConfigError, match="permits an outside agent to trade money, and this agent has its own policy"):
        load(write(tmp_path, own), known_names())


def test_the_policy_by_which_a_backtest_asks_is_not_for_files(tmp_path):
    text = CONFIG.replace("[[schedules]]", EXTERNAL.replace("external", "asked") + "[[schedules]]", 1)
    with pytest.raises(ConfigError, match=r'config.toml:\d+: .*"guest" policy = "asked".*write policy = "external"'):
        load(write(tmp_path, text), known_names())


def test_the_approval_of_a_person_is_for_outside_agents_that_trade(tmp_path):
    text = CONFIG.replace("[[schedules]]", EXTERNAL + 'approval = "person"\n[[schedules]]', 1)
    rules = assemble(load(write(tmp_path, text), known_names()), cache=tmp_path / "cache").rules
    assert (rules.outside, rules.reviewed) == ((2,), {2: 0})
    as_shadow = text.replace('approval = "person"', 'approval = "person"\nshadow = true\nchallenges = "trend"')
    rules = assemble(load(write(tmp_path, as_shadow), known_names()), cache=tmp_path / "cache").rules
    assert (rules.reviewed, rules.shadows[0].reviewed) == ({2: 0}, {})
    with pytest.raises(ConfigError, match="applies to the proposals of an outside agent only"):
        load(write(tmp_path, CONFIG.replace("[[schedules]]", 'approval = "person"\n[[schedules]]', 1)), known_names())


def test_cut_is_for_the_orders_of_an_outside_agent(tmp_path):
    text = CONFIG.replace("[[schedules]]", EXTERNAL + "cut = true\n[[schedules]]", 1)
    assert [agent.cut for agent in load(write(tmp_path, text), known_names()).agents] == [False, False, True]
    with pytest.raises(
        ConfigError, match=r'config.toml:\d+: .*"even" cut applies to the orders of a program.*remove it'
    ):
        load(write(tmp_path, text.replace('name = "even"', 'name = "even"\ncut = true')), known_names())

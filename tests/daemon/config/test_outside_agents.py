"""policy = "external" in the file: an outside agent is a shadow, and nothing that only a called policy has."""

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
        ("", 'write shadow = true, and challenges = "AGENT"'),
        ("shadow = false\n", "trades only after a promotion"),
        ("shadow = true\nsizing = { max_gross = 0.5 }\n", "pass the limits only"),
        ("shadow = true\nrebalance = { when = 'calendar' }\n", "pass the limits only"),
        ("shadow = true\nparams = { lookback = 5 }\n", "is not a parameter of external"),
    ],
)
def test_an_outside_agent_that_is_no_shadow_is_refused_with_its_line(tmp_path, lines, words):
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

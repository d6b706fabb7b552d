"""The names a configuration may use are those that other parts of quantd define."""

import subprocess
import sys

import pytest

from quantd.adapters.calendars import ALWAYS_OPEN, names
from quantd.daemon.config import ConfigError, read
from quantd.daemon.known import COMMON, known_names
from quantd.risk.limits.profiles import PROFILES
from quantd.strategies.policies import COMPOSITES, POLICIES

CONFIG = """
[universe]
symbols = ["SPY"]
calendar = "{calendar}"
[feed]
path = "bars.csv"
[broker]
cash = "1.00"
[[agents]]
name = "a"
policy = "{policy}"
capital = 1
params = {{ {params} }}
"""


def mistakes(calendar="XNYS", policy="momentum", params=""):
    with pytest.raises(ConfigError) as wrong:
        read(CONFIG.format(calendar=calendar, policy=policy, params=params), known_names())
    return str(wrong.value)


def test_every_common_calendar_is_one_of_the_library():
    assert set(COMMON) <= {ALWAYS_OPEN, *names()}


def test_a_calendar_that_is_not_common_is_found_in_the_library():
    rare = next(name for name in names() if name not in COMMON)
    read(CONFIG.format(calendar=rare, policy="momentum", params=""), known_names())


def test_a_mistyped_calendar_names_the_nearest():
    assert "Did you mean XNYS?" in mistakes(calendar="XNYZ")


def test_a_common_calendar_needs_no_look_at_the_library():
    code = (
        "import sys; from quantd.daemon.known import known_names; k = known_names(); assert 'XNYS' in k.calendars; "
        "assert '24/7' in k.calendars; print('exchange_calendars' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_policies_and_profiles_are_the_registered_ones():
    known = known_names()
    assert set(known.policies) == {*POLICIES, *COMPOSITES, "learned_allocation"}
    assert known.profiles == tuple(PROFILES)


def test_parameters_of_a_policy_are_checked_by_name():
    assert "Did you mean lookback?" in mistakes(params="lokback = 3")
    assert known_names().parameters["momentum"] == ("lookback", "skip", "size")
    assert known_names().parameters["fixed_mix"] == ("weights",)
    assert known_names().parameters["signals"] == ("features", "exposure", "top", "size", "invested")
    assert "Did you mean max_tilt?" in mistakes(policy="learned_allocation", params="maxtilt = 0.2")


def test_a_configuration_is_checked_without_a_model_runtime():
    code = (
        "import sys; from quantd.daemon.known import known_names; known_names(); sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Alarms as text: what is one, and what a configuration says of what is none."""

import pytest

from quantd.daemon.config import ConfigError, read
from quantd.daemon.config.alarm_bounds import MOST, Alarm, alarm_of
from tests.support.known_names import KNOWN, SMALL


def test_a_figure_a_side_and_a_bound_are_an_alarm() -> None:
    assert alarm_of("drawdown > 0.1") == Alarm("drawdown > 0.1", "drawdown", "", True, 0.1)
    assert alarm_of("price  BRK.B<400") == Alarm("price  BRK.B<400", "price", "BRK.B", False, 400.0)
    names = [alarm.name for text in ("day < -0.02", "weight SPY > 0.3") if (alarm := alarm_of(text))]
    assert names == ["alarm_day_below_minus_0_02", "alarm_weight_SPY_above_0_3"]
    for text in (
        "",
        "equity",
        "equity > ",
        "equity = 1",
        "price < 1",
        "equity SPY > 1",
        "equity > nan",
        "equity > 1e3",
    ):
        assert alarm_of(text) is None, text


@pytest.mark.parametrize(
    ("alarms", "words"),
    [
        (["equity is low"], ['has "equity is low", which is no alarm', 'write "equity < 95000"']),
        (["equity < 1", "equity<1"], ['has "equity < 1" and "equity<1", which are one alarm', "remove one"]),
        (["drawdown > 10"], ["drawdown is a fraction, which is never there", 'write "drawdown > 0.1"']),
        (["weight SPY > 30"], ["weight is a fraction, which is never there", 'write "weight SPY > 0.3"']),
        (["day<-2"], ['write "day < -0.02"']),
        (["price NONE > 1"], ["is of NONE, which is not a known symbol"]),
        ([f"equity < {k}" for k in range(MOST + 1)], [f"has {MOST + 1} alarms", f"write at most {MOST}"]),
    ],
)
def test_what_is_no_alarm_is_named_with_the_remedy(alarms: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as why:
        read(f"{SMALL}\n[alerts]\nalarms = {alarms}\n", KNOWN)
    for part in words:
        assert part in str(why.value)

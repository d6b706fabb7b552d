"""Keys that affect trading, and how two configurations differ."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import Config, digest, read
from quantd.daemon.config.trading_keys import changed_keys, differences, trading_keys
from tests.support.command_line import CONFIG


def config(text: str = CONFIG, *sets: str) -> Config:
    return read(text, known_names(), folder=Path(), sets=sets)


def differing(there: Config, here: Config) -> list[str]:
    return differences(trading_keys(there), trading_keys(here))


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ("agents.trend.params.lookback=63", "agents.trend.params.lookback 63, here 60"),
        ("agents.trend.params.skip=5", "agents.trend.params.skip 5, here none"),
        ("agents.even.capital=0.3", "agents.even.capital 0.3, here 0.5"),
        ("schedules.close.at=close", 'schedules.close.at "close", here "close-15m"'),
        ("risk.var.limit=0.05", "risk.var.limit 0.05, here 0.03"),
        ("risk.max_drawdown=0.2", "risk.max_drawdown 0.2, here 0.25"),
        ("feed.start=2019-02-01", 'feed.start "2019-02-01", here "2019-01-02"'),
        ("broker.cash=5.00", 'broker.cash "5.00", here "100000.00"'),
        ("universe.symbols=SPY,IWM", 'universe.symbols ["SPY", "IWM"], here ["SPY", "QQQ", "IWM"]'),
    ],
)
def test_a_key_that_differs_is_named_with_both_values(sets: str, expected: str) -> None:
    assert differing(config(CONFIG, sets), config()) == [expected]


def test_a_table_that_one_configuration_lacks_is_named_by_its_list_and_an_order_of_agents_counts() -> None:
    renamed = config(CONFIG.replace('name = "even"', 'name = "flat"') + "[manual]\ncapital = 0.1\n")
    assert differing(renamed, config()) == [
        'agents ["flat", "trend"], here ["even", "trend"]', "manual true, here none",
    ]  # fmt: skip
    assert differing(renamed, renamed) == []


def test_configurations_of_one_digest_do_not_differ_and_those_of_two_always_do() -> None:
    plain = config()
    alike = config(CONFIG, "quantd.state=other", "log.level=debug", "api.port=1", "feed.pace=5/s")
    assert (digest(alike), differing(alike, plain)) == (digest(plain), [])
    many = ",".join(f"S{k}" for k in range(300))
    texts = ("universe.symbols=" + many, "universe.symbols=" + many + ",Z", "feed.warmup=131", "risk.rearm=never")
    configurations = [config(CONFIG, text) for text in texts]
    for k, one in enumerate(configurations):
        for two in configurations[k + 1 :]:
            assert digest(one) != digest(two)
            assert differing(one, two)
    assert differing(configurations[0], configurations[1]) == ["universe.symbols differs"]


def test_changed_keys_leave_out_what_is_written_at_its_default() -> None:
    written = CONFIG.replace("capital = 0.5", "capital = 0.5\nmin_trade = 0.005")
    keys = changed_keys(config(written))
    assert keys == changed_keys(config())
    assert keys["agents.trend.params.lookback"] == "60"
    assert "agents.even.min_trade" not in keys

"""No slip of a pen in a limit of config.toml is accepted, so that none makes a limit weaker."""

import re

import pytest

from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import ConfigError, read
from quantd.risk.limits.catalogue import EXTRA
from tests.support.known_names import KNOWN, SMALL

GROUPS = 'groups = [{ name = "large", symbols = ["SPY"] }]'
TEXT = SMALL.replace("[risk]\nmax_drawdown = 0.25\n", "").replace("[feed]", f"{GROUPS}\n[feed]")
LIMITS = [
    "collar = 0.05", "reduce_collar = 0.15", "flatten_collar = 0.1", "in_flight = 0.5", "cash_reserve = 0.02",
    "max_cash_debit = 0.02", "min_history = 60", 'max_price_age = "30h"', 'duplicate_window = "2s"',
    "max_position_weight = 0.35", "max_gross_exposure = 1.0", "max_net_exposure = 0.9", "max_leverage = 1.0",
    "max_sector_weight = 0.5", "max_concentration = 0.3", "max_herfindahl = 0.4", "max_share_of_volume = 0.05",
    'max_order_notional = "25000.00"', "max_turnover = 0.5", "max_open_orders = 50", "max_volatility = 0.25",
    "max_realised_volatility = 0.3", "min_diversification = 0.2", "min_sharpe = 0.4",
    "max_drawdown = 0.25", "max_daily_loss = 0.08", "max_weekly_loss = 0.12", "allow_short = false", "follow_ups = 3",
    'max_loop_lag = "5s"', 'max_clock_jump = "2s"', "max_missed_bars = 2",
    'restricted = ["QQQ"]', 'group_caps = [{ group = "large", cap = 0.6 }]',
    "liquidity = { days = 30.0, participation = 0.1 }", 'order_rate = { orders = 50, per = "1m" }',
    "protective = { stop_loss = 0.2, take_profit = 0.5, trailing = true, cooldown = 5 }",
    "var = { limit = 0.03, confidence = 0.99, horizon = 5 }", "cvar = { limit = 0.05, confidence = 0.95 }",
    "correlation = { threshold = 0.7, joint_weight = 0.6 }", 'stress = { limit = 0.4, scenarios = ["2008", "2020"] }',
    *(limit.example for limit in EXTRA.values() if limit.configured),
]  # fmt: skip
LINES = {line.partition(" = ")[0]: line for line in LIMITS}
ESTIMATORS = {"volatility_lookback", "volume_lookback", "regime", "flatten_on", "profile"}
NUMBER = re.compile(r"(?<== )\d+(?:\.\d+)?(?=[ ,]|$)")
TEXTS = re.compile(r'(?<== )"[^"]+"')
HOUSE = {"follow_ups", "max_loop_lag", "max_clock_jump", "max_missed_bars"}
"""Limits that an agent has not."""
SYNTAX = re.compile(r'["={}\[\],]')
KEY = re.compile(r"\b[a-z][a-z_]+(?= = )")
OTHER_TYPES = ("true", "[]", "{}", '""', "2020-01-01", "off", "nan", "inf", "-inf")


def slips(line: str) -> list[str]:
    """The line with each number, text and key of it written as it was not meant."""
    changes: list[tuple[re.Match[str], str]] = []
    for match in NUMBER.finditer(line):
        number = match[0]
        changes += [(match, text) for text in (*OTHER_TYPES, f"-{number}", f'"{number}"', f"[{number}]", f"{number} %")]
        changes += [(match, text) for text in ("1e308", "9" * 30, "0x7fffffffffffffff")]
        if "." in number:
            changes.append((match, number.replace(".", ",")))
        if "." in number and float(number) <= 1.0:
            changes.append((match, f"{float(number) * 100:g}"))
    for match in TEXTS.finditer(line):
        changes += [(match, text) for text in (*OTHER_TYPES, match[0][:-1], '"-1"', '"1,000 "', '"nan"', '"1e9"')]
    for match in KEY.finditer(line):
        key = match[0]
        changes += [(match, text) for text in (key[:-1], key[1:], key + "s", key[0] + key, key.upper())]
    changes += [(match, "") for match in SYNTAX.finditer(line)]
    return [f"{line}\n{line}", *(line[: match.start()] + text + line[match.end() :] for match, text in changes)]


@pytest.mark.quick_cases(12)
@pytest.mark.requirement("R-265")
@pytest.mark.parametrize(
    ("table", "key"),
    [("risk", key) for key in LINES] + [("agents.limits", key) for key in LINES if key not in HOUSE],
)
def test_no_slip_in_a_limit_is_accepted(table: str, key: str) -> None:
    head = f"{TEXT}[{table}]\n" + f"{LINES['var']}\n" * (key != "var")  # a cvar without its c would be one
    read(head + LINES[key], KNOWN)
    accepted = []
    for slip in slips(LINES[key]):
        try:
            read(head + slip, KNOWN)
        except ConfigError:
            continue
        accepted.append(slip)
    assert accepted == []


def test_every_limit_of_a_configuration_has_its_line() -> None:
    keys = {key.attribute.removesuffix("_ns").removesuffix("_micro") for key in limit_keys()}
    assert keys - ESTIMATORS <= LINES.keys()

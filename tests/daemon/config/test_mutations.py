"""No slip of a pen in config.toml yields a weaker limit without an error."""

import random
import re

import pytest

from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import ConfigError, Known, read
from quantd.risk.limits.bounds import Bounds, higher, lower
from quantd.risk.limits.catalogue import EXTRA
from tests.support.checkout import ROOT

MUTATIONS = 500
KNOWN = Known(
    policies=("inverse_volatility", "momentum"),
    calendars=("XNYS", "24/7"),
    feeds=("replay", "yfinance", "alpaca", "ccxt", "http"),
    brokers=("paper", "alpaca", "ccxt"),
    limits=limit_keys(),
)
# the default, with every other limit beside those it has, for the house and for an agent
LIMITS = """\
reduce_collar = 0.15
flatten_collar = 0.1
cash_reserve = 0.02
min_history = 60
max_net_exposure = 0.9
max_order_notional = "25000.00"
max_share_of_volume = 0.05
allow_short = false
restricted = ["BAC"]
max_sector_weight = 0.5
max_concentration = 0.3
max_herfindahl = 0.4
average_correlation = 0.6
max_leverage = 1.0
group_caps = [{ group = "large", cap = 0.6 }]
liquidity = { days = 30.0, participation = 0.1 }
order_rate = { orders = 50, per = "1m" }
duplicate_window = "2s"
protective = { stop_loss = 0.2, take_profit = 0.5, trailing = true, cooldown = 5, at_venue = true }
max_realised_volatility = 0.3
min_diversification = 0.2
min_sharpe = 0.4
max_turnover = 0.5
max_volatility = 0.25
cvar = { limit = 0.05, confidence = 0.95 }
stress = { limit = 0.4, scenarios = ["2008", "2020"] }
max_weekly_loss = 0.12
max_open_orders = 50
"""
FURTHER = {key: limit for key, limit in EXTRA.items() if limit.configured and f"{key} = " not in LIMITS}
"""Limits that somebody added: those whose bounds refuse a percentage are in the text with their example."""
NO_SHARE = {key for key, limit in FURTHER.items() if not (isinstance(limit.bounds, Bounds) and limit.bounds.percent)}
"""Any other number may be meant, also 100 times the right one."""
LIMITS += "".join(f"{limit.example}\n" for key, limit in FURTHER.items() if key not in NO_SHARE)
AGENT = 'limits = { max_position_weight = 0.3, max_drawdown = 0.2, restricted = ["AAPL"], var = { limit = 0.02 } }'
DEFAULT = (ROOT / "config.toml").read_text()
GROUP = '[[universe.groups]]\nname = "large"\nsymbols = ["SPY", "AAPL"]\n\n[feed]'
TEXT = (
    DEFAULT.replace("[feed]", GROUP, 1)
    .replace("[risk] ", "[risk]\n" + LIMITS + "# ", 1)
    .replace("limits = { max_position_weight = 0.30, max_volatility = 0.25, min_diversification = 0.03 }", AGENT, 1)
)

RISES = {
    "collar", "reduce_collar", "flatten_collar", "max_price_age_ns", "in_flight", "max_cash_debit",
    "max_position_weight",
    "max_gross_exposure", "max_net_exposure", "max_order_notional_micro", "max_share_of_volume", "max_sector_weight",
    "max_concentration", "max_turnover", "max_volatility", "max_drawdown", "max_daily_loss", "max_weekly_loss",
    "average_correlation", "max_open_orders", "max_herfindahl", "max_leverage", "cap", "days", "participation",
    "orders", "stop_loss", "take_profit", "max_realised_volatility", "follow_ups", "limit", "threshold", "joint_weight",
    "min_weight", "allow_short",
    "max_loop_lag_ns", "max_clock_jump_ns", "max_missed_bars",
    *(key for key, limit in FURTHER.items() if limit.tighter is lower),
}  # fmt: skip
FALLS = {
    "cash_reserve", "min_history", "confidence", "horizon", "strict", "duplicate_window_ns", "per_ns", "trailing",
    "at_venue",
    "cooldown", "min_diversification", "min_sharpe",
    *(key for key, limit in FURTHER.items() if limit.tighter is higher),
}  # fmt: skip
ESTIMATORS = {
    "method",
    "shocks",
    "lookback",
    "volatility_lookback",
    "volume_lookback",
    "profile",
    "rearm",
    "max_failures",
    "flatten_on",
    # what is remembered, and how often people are told: no limits
    "portfolio",
    "risk",
    "allocations",
    "monitor_interval_ns",
}


def limits_of(config):
    """owner -> limit -> value, tables flattened."""
    owners = {"house": config.risk, **{agent.name: agent.limits for agent in config.agents}}
    out = {}
    for owner, table in owners.items():
        for name, value in table.model_dump().items():
            if name == "group_caps" and value is not None:
                value = {group_cap["group"]: group_cap["cap"] for group_cap in value}
                out |= {(owner, group, "cap"): cap for group, cap in value.items()}
                continue
            for inner, part in value.items() if isinstance(value, dict) else [("", value)]:
                out[owner, name, inner or name] = part
    return out


def weaker(before, after):
    """The limits of `before` that hold less, or not at all, after."""
    weaker_limits = []
    for (owner, name, key), was in before.items():
        now = after.get((owner, name, key))
        if was is None or key in ESTIMATORS:
            continue
        if key in ("restricted", "scenarios"):
            less = not set(was) <= set(now or ())
        elif key in RISES or key in FALLS:
            less = now is None or (now > was if key in RISES else now < was)
        else:
            raise AssertionError(f"{key} has no direction in this test")
        if less:
            weaker_limits.append((owner, name, key, was, now))
    return weaker_limits


SECTION = re.compile(r"^\[risk\](.*?)(?=^\[)", re.M | re.S)
NUMBER = re.compile(r"(?<== )-?\d+(?:\.\d+)?(?=[ ,\n])")
KEY = re.compile(r"\b[a-z][a-z_]+(?= = )")


def pick(rng, pattern, text):
    """A match of `pattern` in the lines that hold limits, comments left out."""
    lines = [
        m
        for m in pattern.finditer(text)
        if text[text.rfind("\n", 0, m.start()) + 1] != "#"
        and "#" not in text[text.rfind("\n", 0, m.start()) + 1 : m.start()]
    ]
    risk = SECTION.search(text)
    agent = text.index(AGENT)
    inside = [m for m in lines if risk.start() < m.start() < risk.end() or agent < m.start() < agent + len(AGENT)]
    return rng.choice(inside)


def put(text, match, new):
    return text[: match.start()] + new + text[match.end() :]


def typo(word, rng):
    k = rng.randrange(len(word))
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz_")
    return rng.choice(
        [
            word[:k] + word[k + 1 :],
            word[:k] + word[k] + word[k:],
            word[:k] + letter + word[k + 1 :],
            word.upper(),
            word + "s",
        ]
    )


def of_a_number(change):
    def mutate(text, rng):
        match = pick(rng, NUMBER, text)
        return put(text, match, change(match[0], rng))

    return mutate


def key_typo(text, rng):
    match = pick(rng, KEY, text)
    return put(text, match, typo(match[0], rng))


def section_typo(text, rng):
    match = rng.choice(list(re.finditer(r"(?<=^\[)[a-z]+(?=\])", text, re.M)))
    return put(text, match, typo(match[0], rng))


def lost(characters):
    def mutate(text, rng):
        match = pick(rng, re.compile(f"[{re.escape(characters)}]"), text)
        return put(text, match, "")

    return mutate


def twice(text, rng):
    match = pick(rng, re.compile(r"^[a-z_]+ = .*\n", re.M), text)
    return put(text, match, match[0] * 2)


def unit_lost(text, rng):
    return text.replace('"30h"', rng.choice(['"30"', "30", '"30 h"', '"30H"', '"-30h"', '"3000h"', '"30w"', '""']))


def money_as_number(text, rng):
    return text.replace(
        '"25000.00"', rng.choice(["25000.00", '"25,000.00"', '"25000.00 USD"', '"-25000"', '"1e9"', '"nan"', '"inf"'])
    )


def symbol_typo(text, rng):
    match = rng.choice(list(re.finditer(r'(?<=restricted = \[")[A-Z]+', text)))
    return put(text, match, typo(match[0], rng))


MUTATORS = {
    "percent": of_a_number(lambda n, _: str(round(float(n) * 100, 6))),
    "percent sign": of_a_number(lambda n, _: f"{float(n) * 100:g} %"),
    "negated": of_a_number(lambda n, _: f"-{n}"),
    "not finite": of_a_number(lambda _, rng: rng.choice(["nan", "inf", "-inf", "+nan"])),
    "quoted": of_a_number(lambda n, _: f'"{n}"'),
    "of another type": of_a_number(
        lambda n, rng: rng.choice(["true", "false", "[]", "{}", f"[{n}]", '""', "2020-01-01", "off"])
    ),
    "decimal comma": of_a_number(lambda n, _: n.replace(".", ",")),
    "lost point": of_a_number(lambda n, _: n.replace(".", "")),
    "huge": of_a_number(lambda n, rng: rng.choice(["1e308", "9" * 30, "0x7fffffffffffffff", "1e9"])),
    "key typo": key_typo,
    "section typo": section_typo,
    "lost quote": lost('"'),
    "lost equals sign": lost("="),
    "lost bracket": lost("{}[]"),
    "lost comma": lost(","),
    "twice": twice,
    "unit lost": unit_lost,
    "money": money_as_number,
    "symbol typo": symbol_typo,
}


def loses_nothing(text):
    """Whether the mutant is refused, or holds every limit as the original does."""
    try:
        after = read(text, KNOWN)
    except ConfigError:
        return []
    return weaker(BEFORE, limits_of(after))


BEFORE = limits_of(read(TEXT, KNOWN))


@pytest.mark.long
@pytest.mark.requirement("R-265")
def test_five_hundred_slips_and_none_weakens_a_limit():
    accepted = 0
    for seed in range(MUTATIONS):
        rng = random.Random(seed)
        name = list(MUTATORS)[seed % len(MUTATORS)]
        mutant = MUTATORS[name](TEXT, rng)
        if mutant == TEXT:
            accepted += 1
            continue
        lost_limits = loses_nothing(mutant)
        changed = [(a, b) for a, b in zip(TEXT.splitlines(), mutant.splitlines(), strict=False) if a != b][:1]
        assert not lost_limits, f"seed {seed}, {name}: {changed} weakened {lost_limits}"
    assert accepted < MUTATIONS // 10  # or the mutators mutate nothing


def test_every_limit_is_in_the_text_and_has_a_direction():
    assert {(name, key) for (owner, name, key), value in BEFORE.items() if owner == "house" and value is None} <= {
        ("profile", "profile"),
        ("regime", "regime"),  # a table; tests/daemon/engine/safety/test_market_regime.py has its direction
        ("flatten_on", "flatten_on"),
        ("volatility_lookback", "volatility_lookback"),
        ("volume_lookback", "volume_lookback"),
        *((key, key) for key in NO_SHARE),
    }

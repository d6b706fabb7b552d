"""Shadows, challengers and capital in the file: what contradicts itself is refused with its line, and what stands
reaches the engine."""

import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.config import ConfigError
from quantd.daemon.config import read as parse
from quantd.daemon.engine.state.capital_shares import Regime
from quantd.trading.events import Tick
from tests.proofs.five_agents import CONFIG
from tests.support.known_names import KNOWN, SMALL

TWO = (
    SMALL.replace("[risk]\nmax_drawdown = 0.25\n", "")
    + '[[agents]]\nname = "two"\npolicy = "momentum"\ncapital = 0.5\n'
)
RIVAL = '[[agents]]\nname = "rival"\npolicy = "momentum"\ncapital = 0.3\nshadow = true\n'


REGIME = '[[capital.regimes]]\nname = "a"\nshares = [{ agent = "one", share = 1.0 }]\n'


def mistakes(text):
    with pytest.raises(ConfigError) as error:
        parse(text, KNOWN)
    return [str(mistake) for mistake in error.value.mistakes]


@pytest.mark.requirement("R-268", "F-41")
@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        (RIVAL + 'challenges = "rival"\n', 20, "is not a known agent that trades"),
        (RIVAL + 'challenges = "noone"\n', 20, "is not a known agent that trades"),
        (RIVAL.replace("shadow = true\n", 'challenges = "one"\n').replace("0.3", "0.0001"), 19, "shadow = true"),
        ('[[schedules]]\nname = "p"\ndo = "promote"\nat = "close"\n', 17, "no agent has challenges"),
        ('[[schedules]]\nname = "r"\ndo = "reallocate"\nat = "close"\n', 17, "needs a table [capital]"),
        ("[capital]\nfloor = 0.6\n", 16, "adds up to more than 1"),
        ("[capital]\nceiling = 0.4\n", 16, "adds up to less than 1"),
        ('[capital]\nmethod = "regime"\nvolatility_of = "house"\n', 16, "needs at least one regime"),
        ('[capital]\nmethod = "regime"\n' + REGIME, 16, "needs the benchmark's volatility"),
        ('[capital]\n[[capital.regimes]]\nname = "a"\nshares = [{ agent = "rival", share = 1.0 }]\n', 18, "rival"),
        ('[capital]\n[[capital.regimes]]\nname = "a"\nshares = []\n', 18, "is empty"),
        ("[capital]\nshrink = 50\n", 16, "shrink"),
        ('[[schedules]]\nname = "r"\ndo = "rebalance"\nat = "close"\nagents = []\n', 19, "remove it for all agents"),
        ('[alerts]\nquiet_hours = "22:00-07:00"\nquiet_levels = []\n', 17, "remove quiet_hours"),
        ('[alerts]\nquiet_hours = "22:00-22:00"\n', 16, "lasts no minute"),
        ('[capital]\nmethod = "best"\n', 16, "method"),
        ("[promotion]\nconfidence = 95\n", 16, "confidence"),
        ("[promotion]\nsamples = 10\n", 16, "samples"),
        ("[capital]\n" + REGIME + REGIME, 19, "above = 0.0 is already used"),
    ],
)
def test_a_contradiction_is_named_with_its_line(more, line, said):
    lines = mistakes(TWO + more)
    assert any(said in text and f":{line}:" in text for text in lines), lines


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    base = CONFIG.read_text().replace("2005-01-03", "2020-06-01")
    more = """
[capital]
method = "regime"
volatility_of = "house"
lookback = 63
[[capital.regimes]]
name = "calm"
shares = [{ agent = "trend", share = 0.3 }, { agent = "swing", share = 0.1 }]
[promotion]
samples = 60
looks = 5
[[schedules]]
name = "capital"
do = "reallocate"
at = "close"
[[schedules]]
name = "promotion"
do = "promote"
at = "close"
[[agents]]
name = "rival"
policy = "equal_weight"
capital = 0.25
profile = "balanced"
shadow = true
challenges = "trend"
limits = { max_position_weight = 0.11 }
[[agents]]
name = "weekly"
policy = "equal_weight"
capital = 0.1
shadow = true
challenges = "calm"
[[agents]]
name = "free"
policy = "momentum"
capital = 0.1
shadow = true
"""
    file = folder / "config.toml"
    file.write_text(base + more)
    return file


@pytest.fixture(scope="module")
def assembly(text):
    return assemble(read(text))


def test_what_stands_in_the_file_reaches_the_engine(assembly):
    rules = assembly.rules
    assert [agent.name for agent in rules.agents] == ["calm", "parity", "even", "trend", "swing"]
    assert rules.seats[5:] == ("rival", "weekly", "free")
    assert rules.challenges == (3, 0, -1)
    assert len(assembly.policies) == 8
    rival = rules.shadows[0]
    assert rival.cash_micro == rival.agents[0].capital_micro == 250_000 * 10**6
    assert rival.agents[0].limits.max_position_weight == 0.11
    assert rival.agents[0].limits.fee_bp == rules.house.fee_bp == rival.house.fee_bp == 1.0
    assert rival.house.max_drawdown is None
    assert [shadow.first_seat for shadow in rules.shadows] == [5, 6, 7]
    assert rules.promotion is not None
    assert (rules.promotion.samples, rules.promotion.looks, rules.promotion.seed) == (60, 5, 1)
    assert rules.capital is not None
    assert rules.capital.base == pytest.approx((0.2 / 0.95,) * 4 + (0.15 / 0.95,))
    assert rules.capital.regimes == (Regime("calm", 0.0, (0.0, 0.0, 0.0, pytest.approx(0.75), pytest.approx(0.25))),)
    assert rules.capital.benchmark == -1


def test_a_challenger_is_asked_with_its_champion_and_one_of_its_own_at_each_sample(assembly):
    ticks = [tick for tick in assembly.ticks() if isinstance(tick, Tick) and not tick.warmup]
    daily = [tick for tick in ticks if 3 in tick.due]
    weekly = [tick for tick in ticks if 0 in tick.due]
    assert len(daily) > 4 * len(weekly) > 200
    assert all(5 in tick.due for tick in daily)
    assert {tick.ts for tick in ticks if 6 in tick.due} == {tick.ts for tick in weekly}
    assert not any(7 in tick.due for tick in ticks)
    assert [shadow.agents[0].scheduled for shadow in assembly.rules.shadows] == [True, True, False]

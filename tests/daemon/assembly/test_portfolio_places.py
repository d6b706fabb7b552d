"""Places for portfolios: agents of a run, unknown to a backtest, with names that no other agent may have."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import ConfigError, load
from tests.support.command_line import CONFIG, answer, quantd, write

PLACES = CONFIG + "\n[portfolios]\nplaces = 3\nlimits = { max_position_weight = 0.2 }\n"


def test_a_place_is_an_agent_without_capital_that_no_schedule_asks(tmp_path: Path) -> None:
    config = load(write(tmp_path, PLACES), known_names())
    parts = assemble(config, places=True)
    *_, one, _, _ = parts.rules.agents
    assert (one.name, one.capital_micro, one.scheduled, one.place) == ("portfolio-1", 0, True, True)
    assert one.limits.max_position_weight == 0.2
    assert [agent.place for agent in parts.rules.agents] == [False, False, True, True, True]
    asked = {number for tick in parts.ticks() for number in tick.due}
    assert asked == {1}


@pytest.mark.long
def test_a_backtest_has_no_places_and_the_same_digest(tmp_path: Path) -> None:
    digests = set()
    for name, text in (("with", PLACES), ("without", CONFIG)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, text)
        digests.add(answer(quantd(tmp_path / name, "backtest", "--json", "--no-compare"))["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('name = "even"', 'name = "portfolio-2"'), '"portfolio-2" is reserved for a book of the house'),
        (("places = 3", "places = 33"), "places = 33"),
        (("places = 3", 'profile = "calm"'), '"calm" is not a known profile'),
    ],
)
def test_a_wrong_place_is_a_mistake_of_the_configuration(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(write(tmp_path, PLACES.replace(*change)), known_names())

"""`quantd alerts --active` and `--ack`: incidents of the store, and their acknowledgement at the daemon."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from quantd.trading.events import Condition
from tests.support.api_world import standing_at_the_end
from tests.support.checkout import ROOT
from tests.support.command_line import answer, quantd, write


@pytest.mark.long
async def test_an_incident_is_listed_and_acknowledged_at_the_running_daemon(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        await world.service.inbox.command(Condition(world.service.shell.state.now, "feed", False, "of the test"))

        async def said(*words: str) -> tuple[int, str]:
            done = await asyncio.to_thread(quantd, tmp_path, "alerts", *words)
            return done.returncode, done.stdout + done.stderr

        _, listed = await said("--active", "--json")
        (feed,) = [incident for incident in json.loads(listed)["incidents"] if incident["kind"] == "feed"]
        code, text = await said("--active")
        assert code == 0
        assert f"{feed['id']}  raised" in text
        code, text = await said("--ack", feed["id"])
        assert code == 2
        assert "--reason" in text
        code, text = await said("--ack", feed["id"], "--reason", "the vendor knows")
        assert code == 0, text
        assert f"{feed['id']} is acknowledged by " in text
        code, text = await said("--ack", feed["id"], "--reason", "again")
        assert code == 1
        assert "acknowledged already" in text
        code, text = await said("--ack", "run-9-9-9", "--reason", "x")
        assert "no incident" in text
        _, text = await said("--active")
        assert "the vendor knows" in text


@pytest.mark.long
def test_the_default_configuration_has_no_incident_in_half_a_year_of_rising_markets(tmp_path: Path) -> None:
    write(tmp_path, (ROOT / "config.toml").read_text())
    sets = ("feed.end=2019-06-28", 'feed.pace="fast"', 'feed.at_end="stop"', "bus.port=0", "api.port=0")
    assert quantd(tmp_path, "run", "--quiet", *(f"--set={setting}" for setting in sets)).returncode == 0
    done = quantd(tmp_path, "alerts", "--active")
    assert (done.returncode, done.stdout) == (0, "no active incidents\n")
    _check_kinds(tmp_path)


def _check_kinds(folder: Path) -> None:
    """A frequent kind hides no other: the number of each is shown, and alerts are chosen by kind."""
    every = answer(quantd(folder, "alerts", "--last", "100000", "--json"))
    counted = Counter(alert["kind"] for alert in every["alerts"])
    assert every["kinds"] == dict(counted)
    assert len(counted) > 1
    (often, number), *_ = counted.most_common()
    chosen = answer(quantd(folder, "alerts", "--kind", often, "--last", "100000", "--json"))["alerts"]
    assert [alert["kind"] for alert in chosen] == [often] * number
    listing = quantd(folder, "alerts", "--without", often, "--last", "1").stdout
    assert f"1 of {sum(counted.values())} alerts: {often} {number}, " in listing
    assert f"  {often} " not in listing.splitlines()[0]
    wrong = quantd(folder, "alerts", "--without", "ordr")
    assert (wrong.returncode, wrong.stderr) == (2, "no alert has the kind 'ordr': Did you mean order?\n")
    assert "--kind has no effect beside --active" in quantd(folder, "alerts", "--kind", often, "--active").stderr


def test_without_a_daemon_the_remedy_is_named(tmp_path: Path) -> None:
    done = quantd(tmp_path, "alerts", "--ack", "run-1-0", "--reason", "x")
    assert done.returncode != 0
    assert quantd(tmp_path, "alerts", "--reason", "x").returncode != 0

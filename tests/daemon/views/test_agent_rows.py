"""Shadows, shares of capital and challengers at every edge: API, metrics, page, report, status."""

import re
from itertools import pairwise

import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.daemon.views.report.figures import report
from quantd.daemon.views.report.page import page
from tests.support.api_world import standing_at_the_end
from tests.support.command_line import CONFIG, answer, quantd
from tests.support.command_line import write as config_file

MORE = """
[[agents]]
name = "rival"
policy = "inverse_volatility"
capital = 0.25
params = { lookback = 20 }
shadow = true
challenges = "trend"
[capital]
method = "equal_risk"
lookback = 20
max_step = 0.05
[promotion]
samples = 40
confidence = 0.5
looks = 2
[[schedules]]
name = "capital"
do = "reallocate"
cron = "0 16 * * fri"
timezone = "America/New_York"
[[schedules]]
name = "promotion"
do = "promote"
cron = "0 16 15 3 *"
timezone = "America/New_York"
"""
TEXT = CONFIG + MORE


@pytest.mark.long
@pytest.mark.requirement("R-165", "R-209")
async def test_the_api_and_the_metrics_show_a_shadow_as_one(tmp_path):
    async with standing_at_the_end(tmp_path, TEXT) as world:
        await shown(world)


async def shown(world):
    async with world.session.get("/api/v1/status") as response:
        status = await response.json()
    assert [(a["name"], a["shadow"]) for a in status["agents"]] == [("even", False), ("trend", False), ("rival", True)]
    rival = status["agents"][2]
    assert rival["challenges"] == "trend"
    assert rival["share"] is None
    assert float(rival["equity"]) != 25_000.0
    assert rival["weights"]
    assert sum(a["share"] for a in status["agents"][:2]) == pytest.approx(1.0)
    assert 0.0 < status["diversity"] < 1.0
    assert any(p["shadows"].get("rival") for p in status["positions"])
    held = {p["symbol"]: p["agents"] for p in status["positions"]}
    assert not any("rival" in agents for agents in held.values())
    async with world.session.get("/api/v1/house") as response:
        house = await response.json()
    assert house["capital"]
    assert all(sum(transfer["moved"]) == 0 for transfer in house["capital"])
    assert [t["names"] for t in house["promotions"]] == [["trend", "rival"]]
    assert [a["name"] for a in house["agents"]] == ["even", "trend", "rival"]
    async with world.session.get("/api/v1/equity") as response:
        line = (await response.json())["equity"][-1]
    assert set(line["shadows"]) == {"rival"}
    assert "rival" not in line["books"]
    async with world.session.get("/metrics") as response:
        text = await response.text()
    assert re.search(r'quantd_agent_equity\{agent="rival",name="paper",shadow="1"\} \d', text)
    assert re.search(r'quantd_agent_equity\{agent="even",name="paper",shadow="0"\} \d', text)
    assert re.search(r'quantd_agents_correlation_ratio\{name="paper"\} 0\.\d', text)
    assert re.search(r'quantd_agent_capital_ratio\{agent="even",name="paper"\} 0\.\d', text)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    config_file(folder, TEXT)
    return folder, answer(quantd(folder, "run", "--json", "--quiet"))


@pytest.mark.long
def test_a_promotion_is_in_the_store_and_decisions_say_whose_policy_decided(ran):
    folder, _ = ran
    (look,) = Reader.open(folder / "state").promotions()
    assert look.promoted
    assert look.p <= look.alpha == 0.25
    said = answer(quantd(folder, "why", "--last", "200", "--json"))["decisions"]
    # by sample: at the instant of the promotion itself, the rest of an earlier decision is traded before it
    whose = {(row["sample"] >= look.ts, wish["agent"], wish["policy"]) for row in said for wish in row["agents"]}
    assert whose == {(False, "even", ""), (True, "even", ""), (False, "trend", ""), (True, "trend", "rival")}
    alerts = answer(quantd(folder, "alerts", "--json", "--last", "1000"))["alerts"]
    assert any(alert["kind"] == "promotion" and "p = " in alert["text"] for alert in alerts)
    assert any(alert["kind"] == "capital" and "equal_risk" in alert["text"] for alert in alerts)
    order = [o for o in answer(quantd(folder, "orders", "--json"))["orders"] if "trend" in o["agent"]][-1]
    why = answer(quantd(folder, "why", order["id"], "--json"))
    assert {part["agent"]: part["policy"] for part in why["agents"]}["trend"] == "rival"
    assert "(policy of rival)" in quantd(folder, "why", order["id"]).stdout


@pytest.mark.requirement("R-165")
def test_the_report_has_a_section_of_the_shadow_and_one_of_the_agents_beside_each_other(ran):
    folder, _ = ran
    reader = Reader.open(folder / "state")
    run_report = report(reader, load(folder / "config.toml", known_names()), kind="hand", feed="", standing=None)
    assert [(part.name, part.shadow) for part in run_report.agents] == [
        ("even", False),
        ("trend", False),
        ("rival", True),
    ]
    assert run_report.house.diversity is not None
    assert 0.0 < run_report.house.diversity <= 1.0
    assert run_report.house.capital
    assert set(run_report.house.capital[0].target) == {"even", "trend"}
    assert len(run_report.house.trials) == 1
    text = page(run_report)
    assert "<h2>Shadow rival</h2>" in text
    assert "Comparison of agents" in text
    assert f'data-figure="house.diversity" data-value="{run_report.house.diversity!r}"' in text
    # capital that moved is in no return of a book: they add up to what the books grew by, time-weighted
    moved = {row.ts: row.moved for row in reader.capital()}
    points = reader.equity()
    worst = 0.0
    for before, after in pairwise(points):
        if before.ts in moved and any(moved[before.ts]):
            for k in range(2):
                base = before.books[k] + moved[before.ts][k]
                worst = max(worst, abs(after.books[k] / base - 1.0))
    assert 0.0 < worst < 0.05

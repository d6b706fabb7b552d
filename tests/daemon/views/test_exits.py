"""Protective exits as people see them: alerts, `why`, and one digest in every mode."""

import pytest

from quantd.adapters.store.handle import Store
from quantd.trading.codec import decode
from quantd.trading.effects import Protected
from tests.support.command_line import CONFIG, answer, quantd, write

NEAR = "protective = { stop_loss = 0.01, take_profit = 0.02, cooldown = 3 }\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ran")
    write(folder, CONFIG.replace("[risk]\n", f"[risk]\n{NEAR}"))
    return folder, answer(quantd(folder, "run", "--json"))


@pytest.mark.long
@pytest.mark.parametrize("exits", ["ran", "rested"])
def test_a_run_with_exits_or_stops_at_the_venue_has_the_digest_of_its_backtest_and_its_replay(exits, request):
    folder, run = request.getfixturevalue(exits)
    assert run["digest"] == answer(quantd(folder, "backtest", "--json"))["digest"]
    replay = answer(quantd(folder, "replay", run["run"], "--policies", "--json"))
    assert (replay["digest"], replay["same"], replay["policy_differences"]) == (run["digest"], True, 0)


@pytest.mark.long
def test_why_says_that_an_order_was_a_protective_exit_and_of_what(ran):
    folder, run = ran
    alerts = [a for a in answer(quantd(folder, "alerts", "--json"))["alerts"] if a["kind"] == "protective"]
    assert {a["level"] for a in alerts} == {"WARNING"}
    assert all(a["text"].startswith("stop loss: ") for a in alerts), "a take profit is what the plan was after"
    rows = answer(quantd(folder, "orders", "--last", "1000", "--json"))["orders"]
    exits = 0
    kinds = set()
    for alert in alerts:
        asked = (alert["ts"], alert["symbol"], "sell")
        mine = [o for o in rows if alert["agent"] in o["agent"].split("+")]
        order = next((o for o in mine if (o["ts"], o["symbol"], o["side"]) == asked), None)
        if order is None:
            continue  # crossed, or an earlier order had to end first
        reasons = answer(quantd(folder, "why", order["id"], "--json"))
        part = next(p for p in reasons["exits"] if p["agent"] == alert["agent"])
        assert order["side"] == "sell"
        assert part["kind"] == alert["text"].split(":")[0].replace(" ", "_")
        away = abs(float(part["mark"]) / float(part["entry"]) - 1.0)
        bound = {"stop_loss": 0.01, "take_profit": 0.02}[part["kind"]]
        assert away >= bound
        assert float(part["level"]) == pytest.approx(
            float(part["entry"]) * (1.0 + (bound if part["change"] > 0 else -bound))
        )
        kinds.add(part["kind"])
        exits += 1
    assert exits > 5
    assert kinds == {"stop_loss"}
    with Store.open(folder / "state", state=folder / "state", account="x", holder="x", lease_s=5.0) as store:
        steps = [decode(data).effects for _, data in store.entries(run["run"], 1)]
    taken = next(
        e for effects in steps for e in effects if isinstance(e, Protected) and e.kind == "take_profit" and e.n
    )
    symbol = ("SPY", "QQQ", "IWM")[taken.symbol]
    reasons = [
        answer(quantd(folder, "why", o["id"], "--json"))["exits"]
        for o in rows
        if o["symbol"] == symbol and o["ts"] == taken.ts
    ]
    assert [part["kind"] for parts in reasons for part in parts] == ["take_profit"]
    text = quantd(folder, "why", order["id"]).stdout
    assert f"protective exit of {part['agent']}" in text
    assert "wants" not in text.split("\n")[2]


RESTING = "protective = { stop_loss = 0.02, cooldown = 3, at_venue = true }\n"


@pytest.fixture(scope="module")
def rested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rested")
    write(folder, CONFIG.replace("[risk]\n", f"[risk]\n{RESTING}"))
    return folder, answer(quantd(folder, "run", "--json"))


@pytest.mark.long
def test_why_says_that_a_stop_rests_at_the_venue_and_at_which_level(rested):
    folder, _ = rested
    alerts = [a for a in answer(quantd(folder, "alerts", "--json"))["alerts"] if a["kind"] == "protective"]
    sold = [a for a in alerts if a["text"].startswith("stop loss at the venue: sold at ")]
    assert sold
    orders = answer(quantd(folder, "orders", "--last", "5000", "--json"))["orders"]
    for alert in sold[:3]:
        level = float(alert["text"].split("stop ")[2].split(",")[0])
        mine = [o for o in orders if o["symbol"] == alert["symbol"] and o["agent"] == alert["agent"]]
        stop = [o for o in mine if o["ts"] <= alert["ts"] and o["side"] == "sell" and o["state"].lower() == "filled"][
            -1
        ]
        explanation = answer(quantd(folder, "why", stop["id"], "--json"))
        (part,) = explanation["exits"]
        assert (part["agent"], part["kind"], part["rests"]) == (alert["agent"], "stop_loss", True)
        assert float(part["level"]) == pytest.approx(level)
        assert explanation["fills"]
        assert explanation["shortfall"] is None
    text = quantd(folder, "why", stop["id"]).stdout
    assert f"working stop order of {part['agent']} at the venue, stop loss: level {part['level']}" in text

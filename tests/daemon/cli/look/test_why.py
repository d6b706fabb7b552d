"""`quantd why` from outside: verdicts of an order and of a refusal."""

import csv
import io

import msgspec
import pytest

from quantd.daemon.views.explanation import Explanation
from tests.support.command_line import answer, quantd


@pytest.mark.long
def test_why_tells_what_was_wanted_and_which_limit_cut(ran):
    folder, _ = ran
    rows = answer(quantd(folder, "orders", "--last", "1000", "--json"))["orders"]
    cut = next(o for o in rows if o["reason"] == "position_weight")
    explanation = answer(quantd(folder, "why", cut["id"], "--json"))
    assert explanation["reason"] == "position_weight"
    assert abs(int(explanation["allowed"])) < abs(int(explanation["net"]))
    assert {a["agent"] for a in explanation["agents"]} <= {"even", "trend"}
    weight = next(x for x in explanation["limits"] if x["limit"] == "max_position_weight")
    assert weight["after"] <= weight["bound"] == 0.25
    text = quantd(folder, "why", cut["id"]).stdout
    assert f"this limit cut {explanation['net']} to {explanation['allowed']}" in text
    assert "New York" in text
    assert "commission" in text


@pytest.mark.long
def test_what_was_refused_is_listed_with_an_address_that_why_takes(ran):
    folder, _ = ran
    lines = answer(quantd(folder, "orders", "--refused", "--last", "500", "--json"))["refused"]
    refusal = next(x for x in reversed(lines) if x["allowed"] == "0" and x["who"] == "house")
    explanation = answer(quantd(folder, "why", refusal["address"], "--json"))
    assert msgspec.to_builtins(msgspec.convert(explanation, Explanation, strict=True)) == explanation
    assert (explanation["state"], explanation["order"], explanation["recomputed"]) == ("refused", "", True)
    assert explanation["largest"]["qty"] is not None
    assert refusal["address"] in quantd(folder, "orders", "--refused").stdout
    shown = quantd(folder, "why", "--last", "500").stdout
    assert f"quantd why {refusal['address']}" in shown
    text = quantd(folder, "why", refusal["address"]).stdout
    assert f"this limit cut {refusal['asked']} to 0" in text
    assert "no order was made" in text
    assert answer(quantd(folder, "why", refusal["symbol"], "--at", "2019-02-28", "--json"))["time"] < "2019-03-01"
    assert answer(quantd(folder, "why", refusal["symbol"], "--json"))["symbol"] == refusal["symbol"]


@pytest.mark.long
def test_what_an_agent_had_is_folded_from_its_fills(ran):
    folder, _ = ran
    rows = answer(quantd(folder, "orders", "--last", "1000", "--json"))["orders"]
    last = next(o for o in reversed(rows) if o["agent"] == "even" and o["state"] == "filled")
    part = next(a for a in answer(quantd(folder, "why", last["id"], "--json"))["agents"] if a["agent"] == "even")
    shares = csv.DictReader(io.StringIO(quantd(folder, "report", "--export", "agent-fills").stdout))
    held = sum(
        (1 if s["side"] == "buy" else -1) * int(s["qty"])
        for s in shares
        if s["symbol"] == last["symbol"] and s["agent"] == "even" and s["ts"] < last["time"]
    )
    assert int(part["held"]) == held > 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("why", "q-nothing"), 1, "the nearest: q-"),
        (("why", "d1"), 1, "the nearest: d"),
        (("why", "QQX"), 2, "did you mean QQQ?"),
        (("why", "QQQ", "--at", "soon"), 2, "2020-02-28"),
        (("why", "QQQ", "--shadow", "guest"), 2, "write QQQ@guest"),
        (("risk", "--agent", "nobody"), 2, "even, trend"),
        (("risk", "--symbol", "QQX"), 2, "QQQ"),
        (("orders", "--symbol", "qqq"), 2, "did you mean QQQ?"),
        (("orders", "--symbol", "qqq", "--refused"), 2, "did you mean QQQ?"),
    ],
)
def test_what_is_asked_wrong_is_said_with_what_is_near(ran, arguments, code, says):
    done = quantd(ran[0], *arguments)
    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, ""), done.stderr
    assert "Traceback" not in done.stderr

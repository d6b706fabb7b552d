"""`quantd risk` and `quantd plan` from outside, with a daemon and without."""

import shutil

import msgspec
import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.views.headroom import RiskNow
from quantd.daemon.views.preview import PlanNow
from tests.support.command_line import CONFIG, ROOT, answer, quantd, write


@pytest.mark.long
def test_risk_and_plan_are_the_same_with_a_daemon_and_without(ran, live):
    documents = []
    for folder in (ran[0], live[0]):
        risk = answer(quantd(folder, "risk", "--json"))
        assert msgspec.to_builtins(msgspec.convert(risk, RiskNow, strict=True)) == risk
        plan = answer(quantd(folder, "plan", "--json"))
        assert msgspec.to_builtins(msgspec.convert(plan, PlanNow, strict=True)) == plan
        documents.append(
            [{k: v for k, v in document.items() if k not in ("run", "ts", "time")} for document in (risk, plan)]
        )
    assert documents[0] == documents[1]
    risk, plan = documents[0]
    shown = quantd(ran[0], "risk").stdout
    assert "largest single order of each symbol" in shown
    assert "max_leverage = 1.0 in [risk]" in shown
    assert next(r["buy"]["qty"] for r in risk["room"] if r["symbol"] == "SPY") in shown
    assert "its own limits" in quantd(live[0], "risk", "--agent", "even", "--symbol", "SPY").stdout
    text = quantd(live[0], "plan").stdout
    assert "none is sent" in text
    assert all(f"{a['agent']}" in text for a in plan["answers"])


def test_without_its_market_a_stopped_run_shows_what_is_recorded(ran, tmp_path):
    shutil.copytree(ran[0] / "state", tmp_path / "state")
    (tmp_path / "bars.parquet").write_bytes(b"not a market")
    write(tmp_path, CONFIG.replace(f"{ROOT}/data/us_daily.parquet", "bars.parquet"))
    risk = answer(quantd(tmp_path, "risk", "--json"))
    plan = Reader.open(tmp_path / "state").decisions(last=1)[0].plan
    assert {x["limit"] for x in risk["limits"]} == plan.values.keys() != set()
    assert risk["room"] == []
    assert "only the limits recorded after the newest decision are shown" in risk["note"]
    assert "bars.parquet" in risk["note"]

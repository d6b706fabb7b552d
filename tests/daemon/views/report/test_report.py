"""Risk reports: figures of a real run, the same in the page and in the JSON; files that are bounded; what is unknown
said."""

import json
import re
from html import unescape
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import digest, load
from quantd.daemon.recovery.replay import first_start
from quantd.daemon.runtime.version import code_version
from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.curves import POINTS, thin
from quantd.daemon.views.report.figures import report
from quantd.daemon.views.report.files import KEPT, keep, prune, write
from quantd.daemon.views.report.page import page
from tests.support.command_line import CONFIG, answer, quantd
from tests.support.command_line import write as config_file

LONG = CONFIG.replace("end = 2019-03-29", "end = 2019-06-28").replace(
    "var = { limit = 0.03 }", "var = { limit = 0.012 }\nmin_sharpe = 0.5"
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a finished run of half a year, its reader, configuration and the report of all of it."""
    folder = tmp_path_factory.mktemp("report")
    config_file(folder, LONG)
    answer(quantd(folder, "run", "--json", "--quiet"))
    done = answer(quantd(folder, "report", "--json", "--out", "whole.html"))
    config = load(folder / "config.toml", known_names())
    return folder, Reader.open(folder / "state"), config, done


def typed(document: object) -> Report:
    return msgspec.convert(document, Report)


@pytest.mark.long
@pytest.mark.requirement("R-260")
def test_the_header_names_run_data_configuration_code_costs_and_seed(ran) -> None:
    folder, reader, config, document = ran
    head = document["header"]
    assert head["run"] == reader.run.run
    assert (head["first"][:10], head["last"][:10]) == ("2019-01-02", "2019-06-28")
    assert head["samples"] == len(reader.equity())
    assert head["version"] == code_version()
    assert head["config"] == digest(config)
    assert head["costs"] == {"commission_bp": 1.0}
    assert head["seed"] == 0
    assert head["symbols"] == ["SPY", "QQQ", "IWM"]
    assert head["agents"] == {"even": "equal_weight", "trend": "momentum"}
    from quantd.adapters.store.handle import read_only

    first = first_start(read_only(folder / "state"), reader.run.run)
    assert first is not None
    assert head["feed"] == first.feed != ""
    text = (folder / "whole.html").read_text()
    for value in (
        head["run"],
        head["first"],
        head["last"],
        head["config"],
        head["version"],
        head["feed"],
        "commission bp 1",
    ):
        assert value in text


FIGURE = re.compile(r'data-figure="([^"]*)" data-value="([^"]*)">([^<]*)<')


def at(document, path: str):
    """Where a figure's path leads; keys may hold dots."""
    here, parts = document, path.split(".")
    while parts:
        for size in range(len(parts), 0, -1):
            key = ".".join(parts[:size])
            if isinstance(here, list) and size == 1:
                here = here[int(key)]
                break
            if isinstance(here, dict) and key in here:
                here = here[key]
                break
        else:
            raise KeyError(path)
        parts = parts[size:]
    return here


@pytest.mark.long
def test_every_figure_of_the_page_is_the_one_of_the_json(ran) -> None:
    folder, _, _, document = ran
    text = (folder / "whole.html").read_text()
    beside = json.loads((folder / "whole.json").read_text())
    assert beside == document
    figures = FIGURE.findall(text)
    assert len(figures) > 150
    for path, value, shown in figures:
        expected = at(document, unescape(path))
        assert json.loads(unescape(value)) == expected, path
        if isinstance(expected, float):
            digits = re.sub(r"[^0-9.-]", "", shown)
            scale = 100.0 if "%" in shown else 1.0
            assert float(digits) == pytest.approx(scale * expected, abs=0.51 * (1.0 if "." not in digits else 0.01)), (
                path
            )
        else:
            assert shown == "–" or str(expected).replace(",", "") in unescape(shown).replace(",", "")


def test_limits_stand_with_their_worst_their_use_and_its_course(ran) -> None:
    _, reader, _, document = ran
    limits = {line["limit"]: line for line in document["limits"]}
    assert {"var", "max_position_weight", "max_drawdown", "min_sharpe", "cash"} <= set(limits)
    var = limits["var"]
    recorded = [r.measures["var"] for r in reader.risk() if "var" in r.measures]
    assert var["bound"] == 0.012
    assert var["worst"] == pytest.approx(max([v for v, _ in recorded] + [var["value"]]))
    assert var["worst_use"] == pytest.approx(var["worst"] / 0.012)
    assert len(var["history"]) >= 2
    assert limits["cash"]["use"] is None
    assert limits["min_sharpe"]["use"] == pytest.approx(0.5 / limits["min_sharpe"]["value"])


@pytest.mark.requirement("R-258")
def test_what_happened_is_counted_as_the_store_has_it(ran) -> None:
    _, reader, _, document = ran
    alerts = reader.alerts()
    assert sum(document["alerts_by_level"].values()) == sum(document["alerts_by_kind"].values()) == len(alerts)
    assert document["alerts_by_agent"].get("trend", 0) == sum(a.agent == "trend" for a in alerts)
    assert [a["text"] for a in document["last_alerts"]] == [a.text for a in alerts[-50:]]
    assert sum(document["orders"].values()) == len(reader.orders())
    assert sum(document["refused"].values()) + sum(document["cut"].values()) > 0
    assert [m["reason"] for m in document["switches"]] == [m.reason for m in reader.switches()]


def test_the_parts_of_risk_add_up_and_each_agent_has_its_section(ran) -> None:
    document = ran[3]
    assessment = document["assessment"]
    assert sum(p["component_var"] for p in assessment["positions"].values()) == pytest.approx(
        assessment["historical"]["var"]
    )
    assert set(document["symbols"]) == set(assessment["positions"])
    assert sum(document["sectors"].values()) == pytest.approx(sum(document["symbols"].values()))
    assert set(assessment["stress"]) == {"2008", "2020", "2022", "rates+200bp"}
    assert [a["name"] for a in document["agents"]] == ["even", "trend"]
    assert all(a["metrics"]["var"] is not None for a in document["agents"])
    assert all(a["span"]["samples"] == document["header"]["samples"] for a in document["agents"])


def test_recorded_var_is_held_against_the_returns_that_followed_once_there_are_60(ran) -> None:
    _, reader, config, document = ran
    tested = document["var_backtest"]
    assert tested["samples"] >= 60
    assert tested["p_coverage"] is not None
    points = reader.equity()
    first = next(r.ts for r in reader.risk() if "var" in r.measures)
    assert tested["samples"] == sum(p.ts >= first for p in points) - 1
    half = report(reader, config, kind="hand", feed="x", standing=None, until=points[50].ts)
    assert half.var_backtest is None
    assert "60 are needed" in half.unknown["var_backtest"]


def test_limits_of_plans_that_are_not_recorded_come_from_a_replay_or_are_said_to_be_missing(ran) -> None:
    _, reader, config, document = ran
    plans = [d.plan for d in reader.decisions()]
    records = {line["limit"]: line["records"] for line in document["limits"]}
    assert not any("cash" in plan.values or plan.values_before for plan in plans)
    assert records["cash"] >= len(plans)
    assert records["var"] > sum("var" in plan.values for plan in plans)
    assert "limits" not in document["unknown"]
    bare = report(reader, config, kind="hand", feed="x", standing=None)
    assert "only the values that plans recorded are known" in bare.unknown["limits"]
    assert {line.limit: line.records for line in bare.limits}.get("cash", 0) < records["cash"]


@pytest.mark.long
def test_a_span_in_the_past_says_that_nothing_is_assessed_and_why(ran) -> None:
    folder, *_ = ran
    document = answer(quantd(folder, "report", "--json", "--from", "2019-02-01", "--to", "2019-02-28"))
    assert (document["header"]["first"][:10], document["header"]["last"][:10]) == ("2019-02-01", "2019-02-28")
    assert document["assessment"] is None
    assert document["unknown"]["assessment"].startswith("the span ends on 2019-02-28")
    assert document["spans"][0]["samples"] == 19
    done = quantd(folder, "report", "--from", "2030-01-01")
    assert done.returncode == 1
    assert "no sample" in done.stderr
    by_hand = quantd(folder, "report")
    assert by_hand.returncode == 0
    assert (folder / "state/reports/report-2019-01-02-2019-06-28.html").exists()


def test_the_page_of_a_run_without_orders_or_assessment_is_whole(ran) -> None:
    _, reader, config, _ = ran
    first = reader.equity()[0].ts
    run_report = report(reader, config, kind="daily_report", feed="", standing=None, until=first)
    assert run_report.spans[0].total is None
    assert "–" in page(run_report)
    assert "the run&#x27;s state is unavailable" in page(run_report)


def test_text_of_a_policy_never_becomes_markup(ran) -> None:
    run_report = typed(ran[3])
    evil = "<script>alert(1)</script>"
    line = msgspec.structs.replace(run_report.last_alerts[0], text=evil)
    marked_report = msgspec.structs.replace(run_report, last_alerts=[line], unknown={evil: evil})
    assert evil not in page(marked_report)


def test_a_chart_keeps_its_extremes() -> None:
    points = [(k, float(k == 777) - float(k == 4_321)) for k in range(10_000)]
    kept = thin(points)
    assert len(kept) <= POINTS + 2
    assert {(777, 1.0), (4_321, -1.0), points[0], points[-1]} <= set(kept)


def test_only_so_many_reports_of_a_kind_are_kept(ran, tmp_path: Path) -> None:
    run_report = typed(ran[3])
    place = tmp_path / "reports"
    place.mkdir()
    for day in range(KEPT + 5):
        stem = f"daily-{2000 + day // 300:04d}-{day // 28 % 12 + 1:02d}-{day % 28 + 1:02d}"
        (place / f"{stem}.html").write_text("old")
        (place / f"{stem}.json").write_text("{}")
    (place / "daily-notes.html").write_text("mine")
    path = keep(tmp_path, "daily_report", run_report)
    assert path.name == "daily-2019-06-28.html"
    assert len(list(place.glob("daily-2*.html"))) == len(list(place.glob("daily-2*.json"))) == KEPT
    assert path.exists()
    assert (place / "daily-notes.html").exists()
    prune(place, "weekly")
    write(tmp_path / "x.html", run_report)
    assert not list(tmp_path.glob("*.part*"))


SCHEDULED = (
    LONG
    + """
[[schedules]]
name = "daily"
do = "daily_report"
cron = "0 0 * * *"
[[schedules]]
name = "weekly"
do = "risk_report"
cron = "0 18 * * fri"
"""
)


@pytest.mark.long
@pytest.mark.requirement("R-258")
def test_schedules_write_the_newest_reports_and_not_one_for_each_day_that_is_caught_up_with(tmp_path: Path) -> None:
    config_file(tmp_path, SCHEDULED)
    ended = answer(quantd(tmp_path, "run", "--json", "--quiet"))
    files = sorted(p.name for p in (tmp_path / "state/reports").iterdir())
    assert {
        "daily-2019-06-28.html",
        "daily-2019-06-28.json",
        "weekly-2019-06-28.html",
        "weekly-2019-06-28.json",
    } <= set(files)
    assert len(files) < 40
    daily = json.loads((tmp_path / "state/reports/daily-2019-06-28.json").read_text())
    weekly = json.loads((tmp_path / "state/reports/weekly-2019-06-28.json").read_text())
    assert (daily["header"]["samples"], weekly["header"]["samples"]) == (1, 5)
    assert daily["assessment"] is not None
    again = answer(quantd(tmp_path, "replay", "--json"))
    assert again["same"]
    assert again["digest"] == ended["digest"]

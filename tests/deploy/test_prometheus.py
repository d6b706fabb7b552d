"""The files for Prometheus: promtool accepts them, and each rule has a case that fires and one that does not."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from quantd.daemon.monitoring.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics
from tests.deploy.prometheus_tool import promtool
from tests.support.api_world import standing_at_the_end
from tests.support.checkout import ROOT

FILES = ROOT / "deploy" / "prometheus"
PAGE = ROOT / "docs" / "deploy" / "monitoring.md"
METRIC = re.compile(r"\bquantd_\w+")


def rules() -> dict[str, dict[str, object]]:
    """Alert -> its rule."""
    all_rules = [
        rule
        for path in sorted((FILES / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in all_rules}) == len(all_rules)
    return {rule["alert"]: rule for rule in all_rules}


def names_of_queries() -> set[str]:
    """The metrics that rules and dashboards name."""
    texts = [str(rule["expr"]) for rule in rules().values()]
    texts += [path.read_text() for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")]
    return {name for text in texts for name in METRIC.findall(text)}


@pytest.mark.requirement("R-216")
@pytest.mark.parametrize("secure", [False, True])
def test_promtool_accepts_the_configuration_with_a_token_and_with_tls(tmp_path: Path, secure: bool) -> None:
    place = tmp_path / "prometheus"
    shutil.copytree(FILES, place)
    (place / "quantd.token").write_text("secret\n")
    (place / "quantd-ca.pem").write_text("")
    text = (place / "prometheus.yml").read_text()
    assert "9090" in text
    if secure:
        text = text.replace("scheme: http ", "scheme: https ")
        text = text.replace("# tls_config", "tls_config").replace("#   ca_file", "  ca_file")
        parsed = yaml.safe_load(text)["scrape_configs"][0]
        assert (parsed["scheme"], parsed["tls_config"]) == ("https", {"ca_file": "quantd-ca.pem"})
    (place / "prometheus.yml").write_text(text)
    output = promtool("check", "config", place / "prometheus.yml")
    assert output.count("rules found") == len(list((FILES / "rules").glob("*.yml")))


@pytest.mark.long
def test_promtool_accepts_each_rule_and_each_case_of_the_rules_passes() -> None:
    promtool("check", "rules", *sorted((FILES / "rules").glob("*.yml")))
    promtool("test", "rules", *sorted((FILES / "tests").glob("*.yml")))


def test_each_rule_tells_how_bad_it_is_and_what_to_do() -> None:
    headings = {line.removeprefix("### ") for line in PAGE.read_text().splitlines() if line.startswith("### ")}
    for alert, rule in rules().items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")  # type: ignore[index]
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}  # type: ignore[call-overload]
        assert rule["annotations"]["runbook"] == f"docs/deploy/monitoring.md#{alert.lower()}"  # type: ignore[index]
        assert alert in headings
    assert headings == set(rules())


@pytest.mark.long
@pytest.mark.requirement("R-203")
async def test_each_metric_of_a_rule_or_a_panel_is_in_a_scrape_and_promtool_has_no_remark(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world, world.session.get("/metrics") as response:
        text = await response.text()
    scraped = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    histograms = {f"quantd_{name}" for name in HISTOGRAMS}
    scraped |= {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    assert names_of_queries() <= scraped
    assert await asyncio.to_thread(promtool, "check", "metrics", stdin=text) == ""


def test_every_metric_is_in_a_rule_or_on_a_dashboard() -> None:
    query_names = names_of_queries()
    for name in COUNTERS | GAUGES | HISTOGRAMS:
        assert any(query_name.startswith(f"quantd_{name}") for query_name in query_names), name


def test_no_label_is_one_that_prometheus_gives_to_a_target() -> None:
    for name, (_, *labels) in (COUNTERS | GAUGES | HISTOGRAMS).items():
        assert not {"job", "instance", "name"} & set(labels), name
    (family,) = [
        metric_family
        for metric_family in text_string_to_metric_families(Metrics("paper").render()[0].decode())
        if metric_family.name == "quantd_equity"
    ]
    assert family.samples[0].labels == {"name": "paper"}

"""The files for Grafana: valid by Grafana's schema, queries that Prometheus can read, and no password."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.prometheus_tool import promtool
from tests.support.checkout import ROOT

FILES = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
SOURCE = "quantd-prometheus"

register_default_plugins()


def lost(dashboard: Any, encoded: Any, place: str = "") -> list[str]:
    """Places of `dashboard` that Grafana's classes do not have, or have with another value."""
    if isinstance(dashboard, dict) and isinstance(encoded, dict):
        return [
            path
            for key, value in dashboard.items()
            for path in (lost(value, encoded[key], f"{place}/{key}") if key in encoded else [f"{place}/{key}"])
        ]
    if isinstance(dashboard, list) and isinstance(encoded, list) and len(dashboard) == len(encoded):
        pairs = enumerate(zip(dashboard, encoded, strict=True))
        return [path for n, (a, b) in pairs for path in lost(a, b, f"{place}/{n}")]
    return [] if dashboard == encoded else [place]


def lost_by_grafana(document: dict[str, Any]) -> list[str]:
    return lost(document, json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(document))))


def queries(document: dict[str, Any]) -> dict[str, str]:
    """Place -> expression, with the variables of the dashboard as values."""
    return {
        f"{panel['title']} {target['refId']}": re.sub(r"\$\w+", "a", target["expr"])
        for panel in document["panels"]
        for target in panel.get("targets", ())
    }


@pytest.mark.requirement("R-216")
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_nothing_that_grafanas_schema_does_not_know(path: Path) -> None:
    assert lost_by_grafana(json.loads(path.read_text())) == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_prometheus_can_read_each_query_of_a_dashboard(path: Path, tmp_path: Path) -> None:
    panel_queries = queries(json.loads(path.read_text()))
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(panel_queries.values())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(panel_queries)} rules found" in promtool("check", "rules", tmp_path / "panels.yml")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_panels_of_a_dashboard_do_not_overlap_and_query_one_source_and_one_instance(path: Path) -> None:
    document = json.loads(path.read_text())
    occupied_cells: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & occupied_cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        occupied_cells |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == SOURCE
            assert panel["description"].endswith(".")
            assert all('name="$name"' in target["expr"] for target in panel["targets"])
    ids = [panel["id"] for panel in document["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_provisioning_names_the_source_of_the_dashboards_and_their_folder() -> None:
    (source,) = yaml.safe_load((FILES / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["uid"], source["type"], source["url"]) == (SOURCE, "prometheus", "${PROMETHEUS_URL}")
    (provider,) = yaml.safe_load((FILES / "provisioning/dashboards/quantd.yml").read_text())["providers"]
    assert provider["options"]["path"] == "${QUANTD_DASHBOARDS}"
    uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
    assert len(set(uids)) == len(uids) == 2


@pytest.mark.requirement("R-216")
def test_no_file_for_deployment_has_a_password() -> None:
    word = re.compile(r"(password|secret|credentials|token)\w*\s*[:=]\s*['\"]?(?!\$|/|quantd\.token)\w", re.IGNORECASE)
    # the files of containers and clusters name secrets, and have tests of their own
    for path in (path for part in ("grafana", "prometheus") for path in (ROOT / "deploy" / part).rglob("*")):
        if path.is_file():
            assert not word.search(path.read_text()), path
    assert word.search("GF_SECURITY_ADMIN_PASSWORD=admin")
    page = (ROOT / "docs/deploy/monitoring.md").read_text()
    assert all(line.count('GF_SECURITY_ADMIN_PASSWORD="$(') for line in page.splitlines() if "PASSWORD=" in line)

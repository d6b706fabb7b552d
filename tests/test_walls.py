"""The walls between buildings and rooms: an import that goes up and a room without a place are red in `make check`."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.checkout import ROOT, copy_package, environment

UP: Final = {
    "trading/orders.py": "quantd.strategies.policies",
    "risk/switch.py": "quantd.adapters.pace",
    "adapters/pace.py": "quantd.models.forests.params",
    "models/artifacts/folder.py": "quantd.daemon.config",
    "models/forests/params.py": "quantd.training.learners",
    "daemon/app.py": "quantd.server.api.server",
    "daemon/jobs/job_lanes.py": "quantd.training.jobs.retrainer",
    "daemon/views/rows.py": "quantd.research.metrics.catalogue",
    "server/replica.py": "quantd.research.runs.looks",
    "training/jobs/retrainer.py": "quantd.server.requests.tokens",
    "training/plans/plan.py": "quantd.training.runs.evaluation",
    "research/significance/samples.py": "quantd.research.studies.sweep",
    "daemon/engine/core/idle.py": "quantd.daemon.engine.state",
    "daemon/engine/state/waits.py": "quantd.daemon.engine.planning.plan",
    "daemon/engine/planning/targets.py": "quantd.daemon.engine.safety.alerts",
    "daemon/engine/safety/switch.py": "quantd.daemon.engine.stops.exits",
    "daemon/engine/stops/exits.py": "quantd.daemon.engine.venue.reports",
    "daemon/engine/venue/reports.py": "quantd.daemon.engine.rounds",
    "daemon/engine/rounds.py": "quantd.daemon.engine.agents.capital",
    "daemon/engine/market.py": "quantd.daemon.engine.samples",
}
"""A module of each floor -> one above it, which it imports in the copy, for types only."""

ROOMS: Final = ("daemon/engine/cellar.py", "daemon/attic.py", "research/attic.py", "risk/attic.py", "server/attic.py")


def contracts() -> list[dict[str, Any]]:
    """The contracts of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return table


def printed(root: Path) -> tuple[int, str]:
    """Exit status and output of import-linter for a copy."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(
        command, cwd=root, env=environment(root) | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=240
    )
    return run.returncode, " ".join(run.stdout.split())


def test_no_contract_has_an_exception_and_each_order_names_every_room() -> None:
    assert [contract["name"] for contract in contracts() if contract.get("ignore_imports")] == []
    orders = [contract for contract in contracts() if contract["type"] == "layers"]
    assert len(orders) >= 12
    assert [contract["name"] for contract in orders if contract.get("exhaustive") is not True] == []
    containers = {package for contract in orders for package in contract["containers"]}
    buildings = {"quantd", *(f"quantd.{name}" for name in os.listdir(ROOT / "src" / "quantd") if is_building(name))}
    assert sorted(buildings - containers) == ["quantd.trading"]  # its modules are one room


def is_building(name: str) -> bool:
    return (ROOT / "src" / "quantd" / name).is_symlink()


@pytest.mark.long
def test_a_planted_import_that_goes_up_is_named_and_so_is_a_room_without_a_place(tmp_path: Path) -> None:
    root = copy_package(tmp_path)
    shutil.copy(ROOT / "pyproject.toml", root)
    for path, target in UP.items():
        text = (root / path).read_text(encoding="utf-8")
        (root / path).write_text(f"{text}\n\nif TYPE_CHECKING:\n    import {target}\n", encoding="utf-8")
    for path in ROOMS:
        (root / path).write_text('"""A room that nobody has planned."""\n', encoding="utf-8")
    status, text = printed(root)
    assert status == 1
    importers = {f"quantd.{path.removesuffix('.py').replace('/', '.')}": target for path, target in UP.items()}
    missing = [
        f"{importer} -> {target}"
        for importer, target in importers.items()
        if not re.search(rf"{re.escape(importer)} -> {re.escape(target)} \(l\.\d+\)", text)
    ]
    assert missing == []
    rooms = [f"quantd.{path.removesuffix('.py').replace('/', '.')}" for path in ROOMS]
    assert [room for room in rooms if f"- {room}" not in text] == []

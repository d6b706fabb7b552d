"""One new file adds a job, a route, an edge or a fold of steps: the files of docs/develop/extending.md run in a copy of
the repository, whose tests stay green. The module makes one copy with all four; no file knows of another."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import CONFIG
from tests.support.recipes import blocks_of, copy_repository, passes, run_python

FILES = {
    "A job": "daemon/jobs/kinds/space_job.py",
    "A route": "server/api/routes/universe_routes.py",
    "An edge": "daemon/edges/progress_edge.py",
    "A fold of steps": "daemon/runtime/fill_log.py",
}
"""Section of the page -> file of its Python block."""

ASSEMBLY = "tests/daemon/assembly"
SCHEDULE = '[[schedules]]\nname = "space"\ndo = "{}"\nat = "close"\n'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the four files."""
    copy = copy_repository(tmp_path_factory.mktemp("records"))
    for section, name in FILES.items():
        (block,) = blocks_of(section)
        (copy / name).write_text(block)
    return copy


@pytest.mark.slow
def test_the_files_lie_where_files_of_their_kind_do(root: Path) -> None:
    passes(root, "tests/test_structure.py")


@pytest.mark.long
def test_one_file_adds_a_job_that_runs_and_is_in_the_table(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG + SCHEDULE.format("free_spice"))
    checked = run_python(root, "-m", "quantd.daemon.cli", "config", "check", folder=folder)
    assert (checked.returncode, "Did you mean free_space?" in checked.stderr) == (78, True)

    (folder / "config.toml").write_text(CONFIG + SCHEDULE.format("free_space"))
    run_process = run_python(root, "-m", "quantd.daemon.cli", "run", "--json", folder=folder)
    assert run_process.returncode == 0, run_process.stderr
    jobs_process = run_python(
        root, "-m", "quantd.daemon.cli", "schedule", "list", "--jobs", "20", "--json", folder=folder
    )
    runs = [run for run in json.loads(jobs_process.stdout)["runs"] if run["job"] == "free_space"]
    assert {(run["state"], tuple(run["schedules"])) for run in runs} == {("succeeded", ("space",))}
    assert all(run["result"].endswith(" MiB are free") for run in runs)

    page_process = run_python(root, "scripts/jobs_page.py", "docs/risk/jobs.md")
    assert page_process.returncode == 0, page_process.stderr
    assert "\n| `free_space` | the free space of" in (root / "docs/risk/jobs.md").read_text()
    passes(
        root,
        "tests/daemon/jobs/test_job_table.py",
        *(f"{ASSEMBLY}/test_{name}.py" for name in ("job_records", "names")),
    )


SERVED = """
import asyncio
from pathlib import Path
from quantd.server.api.client_side.python_client import Client
from tests.support.api_world import standing_at_the_end

async def main():
    async with standing_at_the_end(Path("served")) as world:
        answer = await asyncio.to_thread(lambda: Client(world.api.url, world.token).universe(search="q", limit=5))
        print(answer.symbols, answer.count)
        async with world.session.get("/openapi.json") as response:
            print("/api/v1/universe" in (await response.json())["paths"])

asyncio.run(main())
"""


@pytest.mark.long
def test_one_file_adds_a_route_with_its_method_of_the_client_and_its_types(root: Path, tmp_path: Path) -> None:
    (root / "served").mkdir()
    served = run_python(root, "-c", f"import sys; sys.path.insert(0, '.'){SERVED}")
    # the fold of the copy prints the fills first
    assert served.stdout.splitlines()[-2:] == ["['QQQ'] 1", "True"], served.stderr

    stub_process = run_python(root, "scripts/client_stub.py")
    assert stub_process.returncode == 0, stub_process.stderr
    stub = (root / "src/quantd/client_types.pyi").read_text()
    assert 'def universe(self, *, limit: int = 100, search: str = "") -> UniverseNow:' in stub
    api = "tests/server/api"
    passes(
        root,
        *(f"{api}/{name}" for name in ("test_client.py", "test_openapi.py", "client_side", "test_route_groups.py")),
    )


@pytest.mark.slow
def test_one_file_adds_an_edge_that_runs_beside_the_loop_and_is_closed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(CONFIG)
    run_process = run_python(root, "-m", "quantd.daemon.cli", "run", "--json", folder=tmp_path / "run")
    assert run_process.returncode == 0, run_process.stderr
    assert (tmp_path / "run/state/progress").read_text() == "2019-03-29T20:00:00Z stopped\n"
    passes(root, "tests/daemon/edges", "tests/daemon/test_app.py")


@pytest.mark.slow
def test_one_file_adds_a_fold_that_takes_the_steps_of_a_run(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(CONFIG)
    run_process = run_python(root, "-m", "quantd.daemon.cli", "run", "--json", folder=tmp_path / "run")
    assert run_process.returncode == 0, run_process.stderr
    lines = [line for line in run_process.stderr.splitlines() if "fill" in line and "symbol=" in line]
    assert len(lines) == json.loads(run_process.stdout)["fills"] > 0, run_process.stderr[-2000:]
    passes(root, "tests/daemon/runtime/test_step_folds.py", "tests/daemon/runtime/test_service.py")

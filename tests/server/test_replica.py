"""A read-only instance beside a real trading daemon, which is killed."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins
from playwright.sync_api import sync_playwright

from quantd.daemon.cli.configuration import read
from quantd.daemon.recovery.stored_run import CannotStart
from quantd.daemon.runtime.leader import age_text, leader_of
from quantd.daemon.views.overview import overview
from quantd.server.replica import GONE, Replica
from tests.support.calendar_files import with_calendar
from tests.support.command_line import CONFIG, begun, quantd, write
from tests.support.services import find

WITHIN_S = 60.0
PACED = CONFIG.replace('pace = "fast"', 'pace = "5/s"').replace("end = 2019-03-29", "end = 2021-03-30")
V1 = "/api/v1"
READS = (
    "/health", "/metrics", "/", "/docs", "/openapi.json", V1, f"{V1}/status", f"{V1}/positions", f"{V1}/risk",
    f"{V1}/plan", f"{V1}/house", f"{V1}/orders", f"{V1}/fills", f"{V1}/decisions", f"{V1}/alerts",
    f"{V1}/portfolio/history", f"{V1}/risk/history", f"{V1}/risk/metrics", f"{V1}/risk/standing", f"{V1}/allocations",
    f"{V1}/equity", f"{V1}/why/SPY", f"{V1}/performance", f"{V1}/performance/attribution", f"{V1}/policies",
    f"{V1}/models", f"{V1}/models/even", f"{V1}/portfolios", f"{V1}/alerts/active", f"{V1}/jobs", f"{V1}/runs",
    f"{V1}/schedules", f"{V1}/config", f"{V1}/version", f"{V1}/stats",
)  # fmt: skip


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def asked(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as why:
        return why.code, why.read()


def written(state: Path) -> dict[str, bytes]:
    """Digests of the files in a state folder; that of the shared memory of SQLite's readers is left out."""
    files = (file for file in state.rglob("*") if file.is_file() and not file.name.endswith("-shm"))
    return {str(file): blake2b(file.read_bytes()).digest() for file in files}


@pytest.mark.long
@pytest.mark.requirement("R-225")
def test_a_read_only_instance_reads_beside_the_daemon_refuses_to_trade_and_says_when_the_daemon_is_gone(
    tmp_path: Path,
) -> None:
    write(tmp_path, PACED)
    with_calendar(tmp_path)
    state = tmp_path / "state"
    leader = begun(tmp_path, "run", "--quiet", stderr=subprocess.STDOUT)
    replica: subprocess.Popen[str] | None = None
    try:
        until((state / "api.json").exists)
        replica = begun(tmp_path, "serve", "--read-only", stderr=subprocess.STDOUT)
        assert replica.stdout is not None
        line = next(line for line in replica.stdout if line.startswith("read-only: "))
        url = line.split()[1].rstrip("/")

        def status() -> dict[str, Any]:
            overview_now: dict[str, Any] = json.loads(asked(f"{url}/api/v1/status")[1])
            return overview_now

        first = status()
        assert (first["leader"]["alive"], first["leader"]["pid"]) == (True, leader.pid)
        assert first["run"] == json.loads(quantd(tmp_path, "status", "--json").stdout)["run"]
        until(lambda: status()["slices"] > first["slices"])  # it follows
        place = json.loads((state / "api.json").read_text())
        token = {"Authorization": f"Bearer {(state / 'token').read_text().strip()}", "Content-Type": "application/json"}
        rows = {row["key"]: row["source"] for row in json.loads(asked(f"{url}{V1}/config")[1])["settings"]}
        assert (rows["api.port"], rows["quantd.state"]) == ("--port, chosen by the system", "config.toml:3")
        compared = json.loads(asked(f"{url}/api/v1/research/compare")[1])
        assert compared["missing"].startswith("a read-only instance replays no run")
        code, problem = asked(f"{url}/api/v1/research/limit?limit=risk.max_drawdown%3D0.1")
        assert (code, json.loads(problem)["code"]) == (503, "unavailable")
        for named in ("one", "other"):
            code, problem = asked(f"{url}/api/v1/research/compare?{named}=nope")
            assert (code, json.loads(problem)["code"]) == (404, "not_found"), named
        code, problem = asked(f"{url}/api/v1/commands", b'{"command": "halt", "reason": "r"}', token)
        assert (code, json.loads(problem)["code"]) == (403, "read_only")
        assert f":{place['port']}/" in json.loads(problem)["detail"]
        assert json.loads(quantd(tmp_path, "status", "--json").stdout)["switch"] == "RUN"

        beside = Replica(read(tmp_path / "config.toml"), state, place_url := f"http://127.0.0.1:{place['port']}/")
        assert (beside._leader().alive, beside._leader().url, beside._leader().pid) == (True, place_url, 0)
        assert not Replica(read(tmp_path / "config.toml"), state, "http://127.0.0.1:1/")._leader().alive

        leader.kill()
        leader.wait()
        until(lambda: status()["leader"]["alive"] is False)
        assert (status()["status"], status()["ready"]) == (GONE, False)
        age_s = status()["leader"]["age_s"]
        until(lambda: status()["leader"]["age_s"] > age_s)
        before, newest = written(state), status()
        text = newest["leader"]["text"]
        assert f"process {leader.pid}" in text
        assert newest["leader"]["written"][:19] in text
        code, health = asked(f"{url}/health")
        assert (code, json.loads(health)["status"]) == (503, GONE)
        assert "does not answer" in json.loads(health)["leader"]
        codes = {path: asked(f"{url}{path}")[0] for path in READS}
        assert {path for path, code in codes.items() if code != 200} == {"/health"}
        code, problem = asked(f"{url}/api/v1/cash", b"{}", token)
        assert (code, "start it with `quantd run`" in json.loads(problem)["detail"]) == (403, True)
        other = Replica(read(tmp_path / "config.toml"), state)  # any number of them
        until(lambda: status()["slices"] == other.service.shell.tally.slices)  # it has reached the last entry
        expected, followed = to_builtins(overview(other.service, other.parts, other.service.config)), status()
        for name in ("equity", "orders", "fills", "positions", "agents", "limits"):
            assert followed[name] == expected[name]
        assert expected["orders"] > 0
        assert written(state) == before
        if chromium := find("chromium"):
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=chromium["chromium"], args=["--no-sandbox"])
                page = browser.new_page()
                page.goto(url)
                shown = page.locator("#leader").inner_text(timeout=WITHIN_S * 1000)
                browser.close()
            assert "does not answer: nothing trades. The figures are of its last commit" in shown
    finally:
        for process in (leader, replica):
            if process is not None and process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)


def test_a_read_only_instance_needs_a_run_and_its_option(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(CannotStart, match="a run that `quantd run` has begun"):
        Replica(read(tmp_path / "config.toml"), tmp_path / "state")
    done = quantd(tmp_path, "serve")
    assert (done.returncode, "serve --read-only" in done.stderr) == (2, True)


@pytest.mark.parametrize(("age_s", "text"), [(0.4, "0 s"), (119.0, "119 s"), (600.0, "10 min"), (90_000.0, "25 h")])
def test_the_age_of_the_data_is_in_its_largest_unit(age_s: float, text: str) -> None:
    assert age_text(age_s) == text
    second = 1_000_000_000
    gone = leader_of(7, "http://127.0.0.1:1/", "", 10 * second, 10 * second + round(age_s * second))
    assert gone.text.endswith(f"1970-01-01T00:00:10Z, {text} ago")
    assert leader_of(7, gone.url, "running", 10 * second, 11 * second).text == ""


@pytest.mark.parametrize("text", ["trader", "trader:8000", "ftp://trader:8000/", "https://", "https://trader:99999/"])
def test_an_address_of_the_trading_daemon_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path)
    done = quantd(tmp_path, "serve", "--read-only", "--leader", text)
    assert (done.returncode, done.stderr.strip()) == (
        2,
        f"--leader {text} is no URL with a port: write https://HOST:PORT/",
    )

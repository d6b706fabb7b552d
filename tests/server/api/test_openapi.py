"""The document of the API says what the routes do, because both are made from the same records.

CI sends to each operation one request of each kind that follows from the document. `pytest -m slow
tests/server/api/test_openapi.py` sends all of these and random requests. tests/attacks/test_api_fuzz.py sends random
requests in CI.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_world import get, in_shared_loop
from tests.support.command_line import CONFIG, ROOT, environment, running, write

EVERYTHING = (
    CONFIG.replace('at_end = "stop"', 'at_end = "wait"')
    .replace('"equal_weight"\ncapital = 0.5', '"equal_weight"\ncapital = 0.4')
    .replace("[bus]", """[[agents]]
name = "guest"
policy = "external"
capital = 0.1
shadow = true
challenges = "trend"
[manual]
capital = 0.05
[portfolios]
places = 2
[bus]""")
    + "rate = { reads = 10000, reads_burst = 100000, posts = 10000, posts_burst = 100000, proposals = 6000 }\n"
)  # fmt: skip
"""A run with a book for each operation, and rates that no test reaches."""


async def described(world: Any) -> dict[str, Any]:
    status, document = await get(world, "/openapi.json")
    assert status == 200
    assert document["openapi"] == "3.1.0"
    return document


def references(value: object) -> set[str]:
    return set(re.findall(r"#/components/schemas/([\\w.]+)", json.dumps(value)))


@pytest.mark.long
@in_shared_loop
async def test_every_route_for_programs_is_in_the_document_and_every_reference_resolves(shared: Any) -> None:
    document = await described(shared)
    app = shared.api._routes
    listed = {(path, method) for path, methods in document["paths"].items() for method in methods}
    expected = {
        (route.path, route.method.lower())
        for route in app
        if not route.path.startswith(("/docs", "/dashboard")) and route.path not in ("/", "/api/v1/link")
    }  # fmt: skip
    assert listed == expected
    assert references(document) <= set(document["components"]["schemas"])
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(operations)) == len(operations)


@in_shared_loop
@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("/api/v1/orders?limit=0", "limit", "expected a whole number >= 1"),
        ("/api/v1/orders?limit=1.5", "limit", "'1.5'"),
        ("/api/v1/orders?lst=3", "lst", "this route has: limit, cursor, since, symbol"),
        ("/api/v1/status?x=1", "x", "this route has: none"),
        ("/api/v1/fills?symbol=%00", "symbol", "matching regex"),
        ("/api/v1/alerts?since=-1", "since", "expected a whole number >= 0"),
        ("/api/v1/profit?since=2021-01-04", "since", "since = '2021-01-04': expected a whole number, nanoseconds UTC"),
        ("/api/v1/research/limit", "query", "the field 'limit' is missing"),
        ("/api/v1/orders?group=Open", "group", "write one of all, cancelled, cut, expired, filled"),
        ("/api/v1/alerts?cursor=x", "cursor", "send `next` of the previous page"),
        ("/api/v1/alerts?cursor=k6ZvcmRlcnM", "cursor", "of another list than"),
        ("/api/v1/alerts?cursor=%2B", "cursor", "matching regex"),
    ],
)
async def test_a_parameter_at_fault_is_named(shared: Any, path: str, field: str, words: str) -> None:
    status, problem = await get(shared, path)
    assert status == 422
    assert problem["code"] == "query"
    assert [error["field"] for error in problem["errors"]] == [field]
    assert words in problem["detail"]
    assert not problem["detail"].startswith(" = ")


@in_shared_loop
@pytest.mark.parametrize(
    ("path", "body", "code", "fields"),
    [
        ("/api/v1/orders", {"side": "hold", "qty": "1", "symbol": "SPY", "reason": "x"}, "command", ["side"]),
        ("/api/v1/cash", {"do": "add", "amount": 1, "reason": "x"}, "command", ["amount"]),
        ("/api/v1/cash", {"do": "add", "amount": "-1.00", "reason": "x"}, "amount", []),
        ("/api/v1/commands", {"command": "flatten", "agent": "even"}, "command", []),
        ("/api/v1/commands", {"command": "resume", "reason": ""}, "reason", []),
        ("/api/v1/commands", {"command": "buy"}, "command", ["command"]),
    ],
)
async def test_a_field_at_fault_is_named(
    shared: Any, path: str, body: dict[str, str], code: str, fields: list[str]
) -> None:
    async with shared.session.post(path, json=body, headers=shared.bearer) as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"], problem["code"]) == (422, 422, code)
    assert [error["field"] for error in problem["errors"]] == fields
    assert problem["type"] == f"urn:quantd:problem:{code}"


@in_shared_loop
async def test_an_answer_that_the_client_has_is_not_sent_again(shared: Any) -> None:
    async with shared.session.get("/api/v1/positions") as first:
        tag, body = first.headers["ETag"], await first.read()
    async with shared.session.get("/api/v1/positions", headers={"If-None-Match": tag}) as second:
        assert (second.status, await second.read()) == (304, b"")
        assert second.headers["ETag"] == tag
    async with shared.session.get("/api/v1/positions", headers={"If-None-Match": '"other"'}) as third:
        assert (third.status, await third.read()) == (200, body)


@pytest.mark.requirement("R-204")
@in_shared_loop
async def test_the_page_of_the_document_is_served_without_another_host(shared: Any) -> None:
    async with shared.session.get("/docs") as response:
        text = await response.text()
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "http" not in text
    for file in re.findall(r'(?:src|href)="([^"]+)"', text):
        async with shared.session.get(f"/{file}") as response:
            assert response.status == 200
            assert len(await response.read()) > 50


@pytest.mark.requirement("R-204")
@pytest.mark.parametrize(
    ("phases", "examples"),
    [
        pytest.param("examples,coverage", 1, marks=pytest.mark.long, id="systematic"),
        pytest.param("examples,coverage,fuzzing,stateful", 8, marks=pytest.mark.slow, id="all"),
    ],
)
def test_each_operation_of_a_daemon_answers_as_its_document_states(tmp_path: Path, phases: str, examples: int) -> None:
    every_case = {"EVERY_CASE": "1"} if "fuzzing" in phases else {}
    write(tmp_path, EVERYTHING)
    with running(tmp_path):
        state = tmp_path / "state"
        port, token = json.loads((state / "api.json").read_text())["port"], (state / "token").read_text().strip()
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli",
                "--config-file", ROOT / "tests/server/api/schemathesis.toml",
                "run", f"http://127.0.0.1:{port}/openapi.json",
                "--checks", "all", "--exclude-path", "/api/v1/events", "--phases", phases,
                "--max-examples", str(examples), "--seed", "1",
                "--generation-database", "none", "--suppress-health-check", "all",
                "--no-color",
            ],
            cwd=ROOT, env=environment() | {"TOKEN": token} | every_case, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    left_out = re.search(r"Selected: (\d+)/(\d+)\n +Tested: (\d+)\n", done.stdout)
    assert left_out is not None, done.stdout
    selected, total, tested = map(int, left_out.groups())
    assert selected == tested == total - 1 > 50

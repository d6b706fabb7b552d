"""The files of the page: from this daemon alone, and checked by TypeScript against the API's document."""

import json
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from quantd.server.api.openapi import document
from quantd.server.api.routes.dashboard_routes import FOLDER, FOLDERS
from tests.support.api_world import World
from tests.support.checkout import ROOT
from tests.support.services import require, unavailable

HERE = Path(__file__).resolve().parent / "typescript"
INSTALLED = ROOT / "build" / "typescript"
"""Where npm installs the compiler: once, in the version and with the hash of package-lock.json."""

SCALARS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def compiler() -> list[str]:
    """The command of the TypeScript compiler. Skips the test where node is absent or npm does not reach a registry."""
    programs = require("node")
    lock = INSTALLED / "package-lock.json"
    if not lock.exists() or lock.read_bytes() != (HERE / "package-lock.json").read_bytes():
        shutil.rmtree(INSTALLED, ignore_errors=True)
        new_folder = INSTALLED.with_name("typescript.new")
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, new_folder)
        done = subprocess.run(
            [programs["npm"], "ci", "--no-audit", "--no-fund"],
            cwd=new_folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            unavailable(f"npm did not install TypeScript: {done.stderr.strip()[-300:]}")
        new_folder.rename(INSTALLED)
    return [programs["node"], str(INSTALLED / "node_modules" / "typescript" / "lib" / "tsc.js")]


def named(component: str) -> str:
    return re.sub(r"\W", "_", component)


def typed(schema: dict[str, Any]) -> str:
    """The TypeScript type of a JSON schema."""
    if "$ref" in schema:
        return f"api.{named(schema['$ref'].rpartition('/')[2])}"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return "(" + " | ".join(map(typed, options)) + ")"
    if "enum" in schema:
        return "(" + " | ".join(json.dumps(option) for option in schema["enum"]) + ")"
    kind = schema.get("type")
    if isinstance(kind, list):
        return "(" + " | ".join(typed({**schema, "type": kind_option}) for kind_option in kind) + ")"
    if kind == "array":
        if isinstance(items := schema.get("items"), dict):
            return f"{typed(items)}[]"
        return "[" + ", ".join(map(typed, schema["prefixItems"])) + "]" if "prefixItems" in schema else "any[]"
    if kind == "object":
        if "properties" in schema:
            return (
                "{ "
                + " ".join(
                    f"{json.dumps(k)}: {typed(property_schema)};" for k, property_schema in schema["properties"].items()
                )
                + " }"
            )
        more = schema.get("additionalProperties")
        return f"Record<string, {typed(more)}>" if isinstance(more, dict) else "Record<string, any>"
    return SCALARS.get(kind or "", "any")


def declarations(api_document: dict[str, Any]) -> str:
    """The types of the API: `Answer<path>` of a GET, with or without a query, and `Acted<path>` of a POST."""
    lines = [
        f"type {named(name)} = {typed(component)};" for name, component in api_document["components"]["schemas"].items()
    ]
    lines = ["declare namespace api {", *lines, "}"]
    for kind, method in (("At", "get"), ("Acted", "post")):
        cases = []
        for path, methods in sorted(api_document["paths"].items(), key=lambda entry: "{" in entry[0]):
            answer = methods.get(method, {}).get("responses", {}).get("200", {})
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            if schema is not None:
                shape = "`" + re.sub(r"{\w+}", "${string}", path) + "`"
                cases.append(f"P extends {shape} ? {typed(schema)} :")
        lines.append(f"type {kind}<P extends string> = " + "\n  ".join([*cases, "{ notARoute: P };"]))
    lines.append("type Answer<P extends string> = P extends `${infer Path}?${string}` ? At<Path> : At<P>;")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> str:
    world = World(tmp_path_factory.mktemp("types"))
    world.api.application()
    world.store.close()
    return declarations(document(world.api._routes, "page"))


def faults(folder: Path, api: str) -> str:
    """What the compiler finds in the scripts of a folder."""
    for name in ("libraries.d.ts", "tsconfig.json"):
        shutil.copy(HERE / name, folder)
    (folder / "api.d.ts").write_text(api)
    done = subprocess.run([*compiler(), "-p", str(folder)], capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.long
def test_the_page_reads_only_routes_and_fields_that_the_api_has(tmp_path: Path, api: str) -> None:
    for path in (*FOLDER.glob("*.js"), *FOLDER.glob("panels/*.js")):  # served as one folder
        shutil.copy(path, tmp_path)
    text = (FOLDER / "now.js").read_text()
    wrong = text.replace("data ? data.count", "data ? data.amount").replace("/api/v1/risk?", "/api/v1/risks?")
    (tmp_path / "wrong.js").write_text(wrong)  # the check itself fails where it must
    output = faults(tmp_path, api)
    assert "Property 'amount' does not exist" in output
    assert "does not exist on type '{ notARoute: \"/api/v1/risks\"; }'" in output
    assert [line for line in output.splitlines() if "wrong.js(" not in line] == []


OWN = [
    path
    for path in (*FOLDER.iterdir(), *(FOLDER / "panels").iterdir())
    if path.suffix in (".html", ".js", ".css", ".svg", ".webmanifest")
]
SERVED = {name for names in FOLDERS.values() for name in names} | {"index.html", "first_hour.html"}


@pytest.mark.requirement("R-210")
def test_the_dashboard_asks_for_nothing_from_elsewhere() -> None:
    assert len(OWN) > 5
    for path in OWN:
        addresses = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+", path.read_text().replace("<!doctype", "")))
        # a link of the footer and the name of a format: nothing follows them
        assert addresses <= {"https://www.tradingview.com", "http://www.w3.org"}, path.name


def test_each_file_of_the_page_is_served_and_each_import_is_one_of_them() -> None:
    assert {path.name for path in OWN} <= SERVED
    for path in OWN:
        for name in re.findall(r'(?:from |import\()"\./([^"]+)"|="/dashboard/([^"]+)"', path.read_text()):
            assert "".join(name) in SERVED, (path.name, name)


@pytest.mark.parametrize("folder", [FOLDER / "vendor", ROOT / "tests" / "support" / "axe"], ids=["page", "axe"])
def test_vendored_files_are_those_of_their_packages(folder: Path) -> None:
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {p.name for p in folder.iterdir() if p.suffix in (".js", ".mjs")}
    for name, digest in rows:
        assert sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_the_page_asks_for_every_script_of_the_first_screen_at_once() -> None:
    wanted, found = ["dashboard.js"], set()
    while wanted:
        name = wanted.pop()
        found.add(name)
        text = next((path.read_text() for path in OWN if path.name == name), "")
        imported = re.findall(r'^import [^"]*? from "\./([^"]+)"', text, re.MULTILINE)
        wanted += [each for each in imported if each not in found]
    page = (FOLDER / "index.html").read_text()
    assert set(re.findall(r'modulepreload" href="/dashboard/([^"]+)"', page)) | {"dashboard.js"} == found


def test_no_part_of_the_page_parses_text_as_markup() -> None:
    for path in OWN:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|dangerously|eval\(", path.read_text())

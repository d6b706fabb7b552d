"""The routes of the REST API, from the OpenAPI document of a daemon that runs for it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from scripts.site.pages import ROOT
from scripts.site.reference.tables import cell, code, table

WAIT_S: Final = 60.0


class NoDaemonError(Exception):
    """The daemon whose routes are listed did not start."""


def document() -> dict[str, Any]:
    """The OpenAPI document of a daemon with the shipped configuration. Raises NoDaemonError."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        words = ["run", "--config", str(ROOT / "config.toml"), "--state", str(state)]
        words += [f"--set={key}" for key in ("api.port=0", "bus.port=0", "feed.pace=1/s")]
        command = [sys.executable, "-m", "quantd.daemon.cli", *words]
        daemon = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return _fetched(daemon, state)
        finally:
            os.kill(daemon.pid, signal.SIGINT)
            daemon.wait(WAIT_S)


def _fetched(daemon: "subprocess.Popen[bytes]", state: Path) -> dict[str, Any]:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and daemon.poll() is None:
        try:
            port = json.loads((state / "api.json").read_text())["port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json") as answer:
                openapi: dict[str, Any] = json.load(answer)
                return openapi
        except (OSError, ValueError):
            time.sleep(0.1)
    raise NoDaemonError(f"no daemon answered within {WAIT_S:g} s; `quantd run` prints the reason")


def page(openapi: dict[str, Any]) -> str:
    """The page of routes of an OpenAPI document."""
    rows = []
    parts = []
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            needed = [scope for option in operation.get("security", ()) for scope in option.get("token", ())]
            scope = f"`{needed[0]}`" + (" or none" if {} in operation["security"] else "") if needed else "none"
            rows.append([f"`{method.upper()} {path}`", scope, cell(operation["summary"])])
            if detail := _detail(operation):
                parts.append(f"## {method.upper()} {path}\n\n{operation['summary']}.\n\n{detail}")
    head = (
        "# Routes of the API\n\nEvery route of the REST API, with the scope that its token needs; `none` needs no "
        "token. The "
        "running daemon serves the same as `/openapi.json` and, in a browser, as `/docs`. [The API](../operate/api.md) "
        "describes errors, pages and repeated requests.\n\n"
    )
    return head + table(["route", "scope", "about"], rows) + "\n" + "\n".join(parts)


def _detail(operation: dict[str, Any]) -> str:
    parts = []
    rows = [
        [
            code(parameter["name"]),
            parameter["in"],
            "required" if parameter["required"] else code(parameter["schema"].get("default", "")),
        ]
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "header"
    ]
    if rows:
        parts.append(table(["parameter", "in", "default"], rows))
    if body := operation.get("requestBody"):
        example = json.dumps(body["content"]["application/json"]["example"])
        parts.append(f"A body that is accepted: `{example}`\n")
    return "\n".join(parts)

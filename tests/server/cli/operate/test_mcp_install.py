"""`quantd mcp install`: the file of a client is merged and never lost, and what it names serves."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from quantd.server.cli.operate.gate.client_file import desktop_file
from tests.support.command_line import Done, environment, quantd

OTHERS = {"theme": "dark", "mcpServers": {"files": {"command": "files", "args": ["~"]}, "far": {"url": "https://a"}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "robot.token").write_text("secret-of-robot")
    return tmp_path


def install(folder: Path, *more: str, **env: str) -> Done:
    return quantd(folder, "mcp", "install", "--token-file", "robot.token", *more, env=env)


@pytest.mark.long
async def test_what_a_project_gets_starts_the_tools_of_the_agent(folder: Path) -> None:
    done = install(folder, "--agent", "guest", "--url", "http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    text = (folder / ".mcp.json").read_text()
    assert "secret-of-robot" not in text + done.stdout
    entry = json.loads(text)["mcpServers"]["quantd-guest"]
    (folder / "elsewhere").mkdir()
    server = StdioServerParameters(**entry, env=environment(), cwd=folder / "elsewhere")
    async with Client(server) as client:
        tools = await client.list_tools()
    assert {"standing", "propose"} <= {tool.name for tool in tools.tools}


def test_a_file_that_is_there_keeps_every_entry_its_rights_and_its_link(folder: Path) -> None:
    real, link = folder / "real.json", folder / "link.json"
    real.write_text(json.dumps(OTHERS))
    real.chmod(0o640)
    link.symlink_to(real)
    for _ in range(2):
        assert install(folder, "--file", "link.json").returncode == 0
    document: dict[str, Any] = json.loads(real.read_text())
    entry = document["mcpServers"].pop("quantd")
    assert document == OTHERS
    assert str(folder / "robot.token") in entry["args"]
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_print_writes_nothing(folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = install(folder, "--print", "--client", "desktop", XDG_CONFIG_HOME=str(folder))
    assert list(json.loads(done.stdout)["mcpServers"]) == ["quantd"]
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"mcpServers": {},}\n', ":1: is not JSON"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ("[]", "the file is not an object"),
        ('{"mcpServers": []}', "mcpServers is not an object"),
        ('{"mcpServers": {"quantd": {"url": "https://a"}}}', "starts no command"),
    ],
)
def test_a_file_that_cannot_be_merged_is_named_and_left_as_it_is(folder: Path, text: str, fault: str) -> None:
    (folder / ".mcp.json").write_text(text)
    done = install(folder)
    assert done.returncode == 78
    assert ".mcp.json" in done.stderr
    assert fault in done.stderr
    assert (folder / ".mcp.json").read_text() == text


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("--client", "desktop"), 78, "install that client first"),
        (("--http", "127.0.0.1:0"), 2, "needs --token-file"),
        (("--url", "trader"), 2, "is not an address"),
        (("--client", "desktop", "--file", "a.json"), 2, "write one of them"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_the_remedy(
    folder: Path, words: tuple[str, ...], code: int, fault: str
) -> None:
    done = install(folder, *words, XDG_CONFIG_HOME=str(folder))
    assert (done.returncode, fault in done.stderr) == (code, True), done.stderr


def test_the_desktop_client_has_its_file_where_its_platform_has_it() -> None:
    home = Path("/home/me")
    assert desktop_file({}, home, "linux") == home / ".config/Claude/claude_desktop_config.json"
    assert desktop_file({}, home, "darwin").parent == home / "Library/Application Support/Claude"
    assert desktop_file({"APPDATA": "/a"}, home, "win32").parent == Path("/a/Claude")

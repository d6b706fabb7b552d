"""`python -m scripts.publication.bare_machines`: what its machines lack, and the table. It is run by hand."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.publication.bare_machines import Machine, Row, path_without_tools, table


@pytest.mark.parametrize("tool", ["cc", "gcc", "g++", "make", "git"])
def test_a_bare_machine_has_no_compiler_make_or_git_and_every_other_program(tool: str, tmp_path: Path) -> None:
    path = path_without_tools(tmp_path / "bin")
    assert shutil.which(tool, path=path) is None
    assert shutil.which("sh", path=path)
    assert shutil.which("tar", path=path)


def test_the_row_has_the_seconds_of_the_processor_and_not_those_of_waiting(tmp_path: Path) -> None:
    machine = Machine({"PATH": os.environ["PATH"]})
    assert machine("sh", "-c", "sleep 0.3; echo done", at=tmp_path) == "done\n"
    assert machine.cpu_s < machine.wall_s
    assert machine.wall_s >= 0.3


def test_a_command_that_fails_ends_the_program_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"sh -c echo why >&2; exit 3 ended with 3: why"):
        Machine({"PATH": os.environ["PATH"]})("sh", "-c", "echo why >&2; exit 3", at=tmp_path)


def test_a_row_that_installs_nothing_refers_to_the_one_above() -> None:
    rows = [
        Row("a clone", "uncompiled", 41.4, 90.0, 1234, 3.14, "2be298a8ef1e"),
        Row("the same, no network", "uncompiled", 0.0, 0.0, 0, 3.0, "2be298a8ef1e"),
    ]
    assert table(rows).splitlines()[2:] == [
        "| a clone | uncompiled | 41 | 1,234 | 3.1 | `2be298a8` |",
        "| the same, no network | uncompiled | as above | as above | 3.0 | `2be298a8` |",
    ]


def test_a_network_namespace_without_interfaces_reaches_nothing() -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a network namespace needs root and unshare")
    command = ["unshare", "-n", "python3", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 1)"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Network is unreachable" in process.stderr

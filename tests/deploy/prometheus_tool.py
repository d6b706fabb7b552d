"""Prometheus' own checker of files."""

import subprocess

from tests.support.services import require


def promtool(*arguments: object, stdin: str = "") -> str:
    """What promtool prints; its exit code must be 0."""
    command = [require("prometheus")["promtool"], *map(str, arguments)]
    process = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr

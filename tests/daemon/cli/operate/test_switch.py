"""`quantd halt`, `resume` and `reduce` of a running daemon."""

import subprocess
import sys

from tests.support.command_line import answer, environment, quantd


def test_commands_to_a_running_daemon_take_effect_and_are_journalled(live):
    folder, _ = live
    assert answer(quantd(folder, "halt", "--reason", "lunch", "--json"))["switch"] == "HALT"
    assert answer(quantd(folder, "status", "--json"))["switch"] == "HALT"
    assert any("lunch" in a["text"] for a in answer(quantd(folder, "alerts", "--json"))["alerts"])
    assert answer(quantd(folder, "resume", "--reason", "back", "--json"))["switch"] == "RUN"
    assert answer(quantd(folder, "reduce", "--agent", "trend", "--json"))["agent"] == "trend"
    agents = answer(quantd(folder, "status", "--json"))["agents"]
    assert {a["name"]: a["switch"] for a in agents} == {"even": "RUN", "trend": "REDUCE"}
    wrong = quantd(folder, "halt", "--agent", "trendy")
    assert wrong.returncode == 2
    assert "even, trend" in wrong.stderr


def test_the_kill_switch_loads_neither_the_engine_nor_the_store():
    code = "import sys, quantd.daemon.cli.operate.halt\n"
    code += "heavy = ('polars', 'onnxruntime', 'sqlmodel', 'quantd.daemon.engine', 'quantd.adapters.store')\n"
    code += "print([m for m in heavy if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

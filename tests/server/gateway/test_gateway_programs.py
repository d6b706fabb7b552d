"""The programs of examples/gateway, unchanged, under `quantd gateway exec`: each buys through the limits of its agent.

alpaca-trade-api and lumibot need other versions of packages than quantd does. Their tests run where the environment
names a Python that has them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.server.answering_daemon import paced, priced, trading
from tests.support.checkout import ROOT
from tests.support.command_line import environment, quantd, with_calendar, write
from tests.support.sockets import free_port

PROGRAMS = ROOT / "examples" / "gateway"


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Path]:
    """The folder of a daemon with an agent `bot`, whose market goes on."""
    write(tmp_path, paced("5/s") + f"[gateway]\nport = {free_port()}\n")
    with_calendar(tmp_path)
    assert quantd(tmp_path, "agent", "add", "bot", "--share", "0.2").returncode == 0
    file = tmp_path / "config.toml"
    file.write_text(file.read_text().replace("limits = { order", "limits = { max_position_weight = 0.5, order"))
    with trading(tmp_path):
        priced(tmp_path)
        yield tmp_path


def said(folder: Path, *program: str) -> str:
    """What a program prints under `quantd gateway exec`."""
    command = [sys.executable, "-m", "quantd.daemon.cli", "gateway", "exec", "--", *program]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def python_with(package: str, variable: str) -> str:
    """A Python with a package, which the environment names. Skips the test without one."""
    if not (found := os.environ.get(variable)):
        pytest.skip(f"{package} needs other versions of packages than quantd: name a Python that has it in {variable}")
    return found


@pytest.mark.long
def test_a_program_on_alpaca_py(bot: Path) -> None:
    text = said(bot, sys.executable, str(PROGRAMS / "with_alpaca_py.py"))
    assert re.search(r"^at most \d+ of \d+ (SPY|QQQ|IWM) would pass now", text, re.MULTILINE), text
    assert re.search(r"^bought \d+ (SPY|QQQ|IWM) at \d+", text, re.MULTILINE), text


@pytest.mark.slow
def test_a_notebook_on_alpaca_py(bot: Path) -> None:
    text = (PROGRAMS / "with_alpaca_py.py").read_text()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text)])
    nbformat.write(notebook, bot / "bot.ipynb")
    said(bot, sys.executable, "-m", "jupyter", "execute", "--inplace", "bot.ipynb")
    cells = nbformat.read(bot / "bot.ipynb", 4).cells
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert re.search(r"^bought \d+ (SPY|QQQ|IWM) at \d+", printed, re.MULTILINE), printed


@pytest.mark.long
def test_a_program_on_alpaca_trade_api(bot: Path) -> None:
    python = python_with("alpaca-trade-api", "QUANTD_PYTHON_OF_ALPACA_TRADE_API")
    text = said(bot, python, str(PROGRAMS / "with_alpaca_trade_api.py"))
    assert "fill buy SPY ['2']" in text
    assert "refused: at most" in text
    assert "fill sell SPY []" in text


@pytest.mark.long
def test_the_broker_of_lumibot(bot: Path) -> None:
    text = said(bot, python_with("lumibot", "QUANTD_PYTHON_OF_LUMIBOT"), str(PROGRAMS / "with_lumibot.py"))
    assert re.search(r"^bought 2.* at \d+", text, re.MULTILINE), text
    assert "holds [('SPY', '2')]" in text
    assert re.search(r"^last price \d+", text, re.MULTILINE), text

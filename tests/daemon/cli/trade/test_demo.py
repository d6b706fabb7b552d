"""`quantd demo` as a process: a link that signs in, fills, halt and resume, and nothing left behind."""

import http.client
import json
import re
import shlex
import signal
import subprocess
import sys
import time

from quantd.daemon.cli.trade.demo import TOUR
from tests.support.checkout import ROOT
from tests.support.command_line import environment, quantd


def test_a_demo_signs_in_by_its_link_trades_halts_resumes_and_leaves_nothing(tmp_path):
    home, temporary, elsewhere = (tmp_path / name for name in ("home", "temporary", "elsewhere"))
    home.mkdir()
    temporary.mkdir()
    demo = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", "demo"], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=environment()
        | {"HOME": str(home), "TMPDIR": str(temporary), "QUANTD_STORE__URL": f"sqlite:///{elsewhere}"},
    )  # fmt: skip
    try:
        text = ""
        while "Ctrl-C" not in text:
            line = demo.stdout.readline()
            assert line, text
            text += line
        port, code = re.search(r"http://127\.0\.0\.1:(\d+)/#code=(\S+)", text).groups()
        assert code, text
        headers = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{port}"}

        def ask(path, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
            connection.request("POST" if body else "GET", f"/api/v1/{path}", body and json.dumps(body), headers)
            got = connection.getresponse()
            return got, json.loads(got.read())

        got, signed = ask("sign-in", {"code": code})
        assert got.status == 200, signed
        headers |= {"Cookie": got.headers["Set-Cookie"].partition(";")[0], "X-CSRF-Token": signed["csrf"]}
        deadline = time.monotonic() + 60
        while ask("status")[1]["fills"] == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert ask("status")[1]["fills"] > 0
        assert ask("commands", {"command": "halt", "reason": "tour"})[1]["switch"] == "HALT"
        assert ask("commands", {"command": "resume", "reason": "tour"})[1]["switch"] == "RUN"
        typed, config = re.search(r"second terminal:  (.+) why QQQ -c (\S+)", text).groups()
        version = subprocess.run([*shlex.split(typed), "--version"], cwd=tmp_path, capture_output=True)
        assert version.returncode == 0, "the command as the demo names it can be typed"
        assert quantd(tmp_path, "status", "-c", config).returncode == 0
    finally:
        demo.send_signal(signal.SIGINT)
        last_output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 0, last_output
    assert "nothing is left behind" in last_output
    assert [*home.iterdir(), *temporary.iterdir()] == []
    assert not elsewhere.exists()


def test_the_tour_names_what_the_page_shows():
    page = "".join(file.read_text() for file in (ROOT / "server/api/dashboard").glob("*.js"))
    assert len(TOUR) == 5
    assert [name for name, _ in TOUR if f'"{name}"' not in page and f">{name}<" not in page] == []
    assert [act for _, text in TOUR for act in re.findall(r"`(\w+) all trading`", text) if act not in page] == []


def test_a_folder_that_exists_is_not_traded_in(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["quantd"])  # the message names the program as it was typed
    done = quantd(tmp_path, "demo", "--keep", str(tmp_path))
    assert done.returncode == 2
    assert f"quantd run -c {tmp_path}/config.toml" in done.stderr
    assert not (tmp_path / "config.toml").exists()

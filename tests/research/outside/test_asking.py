"""An outside agent in a backtest: asked once per sample, by a command or at an address, with stored answers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

import quantd as api
from quantd.research.outside.questions import Answer
from quantd.server.api.routes.proposal_routes import Propose
from tests.research.outside.guest import GUEST, by
from tests.support.command_line import CONFIG, Done, answer, environment, quantd, write
from tests.support.outside_agents import agent_in

SAMPLES = 21
"""Sessions of January 2019."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agent_in(tmp_path)
    text = CONFIG.replace("[[schedules]]", GUEST + "[[schedules]]", 1).replace("2019-03-29", "2019-01-31")
    write(tmp_path, text)
    return tmp_path


def backtest(folder: Path, *arguments: str) -> Done:
    return quantd(folder, "backtest", "--no-compare", *arguments)


def stored(folder: Path) -> int:
    return len(list((folder / "state" / "answers").glob("*/*.json")))


@contextmanager
def served(reply: Any) -> Iterator[str]:
    class Agent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply(self, question)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/decide?x=1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.long
def test_an_agent_is_asked_once_a_sample_and_a_rerun_is_equal_and_free(folder: Path) -> None:
    first = answer(backtest(folder, "--json"))
    assert first["outside"] == [{"agent": "guest", "asked": SAMPLES, "stored": 0}]
    assert stored(folder) == SAMPLES
    again = answer(backtest(folder, "--json", "--journal", "--most-questions", "0"))
    assert again["outside"] == [{"agent": "guest", "asked": 0, "stored": SAMPLES}]
    assert again["digest"] == first["digest"]
    # its answers traded: a run in which it holds is another one
    held = answer(backtest(folder, "--json", "--set", "agents.guest.params={}"))
    assert "outside" not in held
    assert held["fills"] < first["fills"]
    replayed = quantd(folder, "replay", "--state", "state/backtests", "--policies", "--json")
    assert (answer(replayed)["same"], answer(replayed)["policy_differences"]) == (True, 0)
    done = api.backtest(str(folder / "config.toml"), compare=False, most_questions=0)
    assert done.summary.digest == first["digest"]


@pytest.mark.long
def test_another_model_prompt_or_program_is_asked_anew(folder: Path) -> None:
    (folder / "prompt.txt").write_text("be careful")
    sets = by("momentum", 'prompt="prompt.txt"')
    assert answer(backtest(folder, "--json", *sets))["outside"][0]["asked"] == SAMPLES
    (folder / "prompt.txt").write_text("be bold")
    for more in (sets, (*sets, "--set", 'agents.guest.params.model="m2"')):
        done = backtest(folder, *more, "--most-questions", "2")
        assert (done.returncode, "2 questions answered, 0 answers taken" in done.stderr) == (1, True), done
    with (folder / "agent.py").open("a") as program:
        program.write("# changed\n")
    assert "2 questions answered, 0 answers taken" in backtest(folder, *sets, "--most-questions", "2").stderr
    missing = backtest(folder, *by("momentum", 'prompt="none.txt"'))
    assert missing.returncode == 78
    assert "params.prompt = 'none.txt': No such file or directory; name a text file" in missing.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("hang", "no answer within 0.5 s"),
        ("garbage", "the answer is not a proposal: JSON is malformed"),
        ("endless", "the answer is longer than 1,048,576 bytes"),
        ("list", "the answer is not a proposal"),
        ("nan", "the answer is not a proposal: JSON is malformed"),
        ("huge", "the answer is not a proposal: Number out of range"),
        ("unknown", "weights name 'SPYX', which is not traded; did you mean 'SPY'?"),
        ("sum", "the weights add up to 1.6; give weights that add up to 1 or less"),
        ("short", "the weight of SPY is -0.5; the limits allow no short position"),
        ("other", "the answer has the id '0000000000000000000000000000000000000000', but its question has the id"),
        ("dies", "the process ended with exit code 1: no credit left"),
    ],
)
def test_an_agent_without_a_usable_answer_ends_the_run_with_one_line(folder: Path, kind: str, text: str) -> None:
    limit = "timeout_s=0.5" if kind == "hang" else "timeout_s=20"
    done = backtest(folder, *by(kind, limit))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"2019-01-02: agent guest: {text}"), line
    count = "0 questions answered, 0 answers taken from the store; a rerun asks only what is missing"
    assert line.endswith(count), line
    assert stored(folder) == 0


def test_two_lines_to_a_question_are_no_answer_to_the_next_one(folder: Path) -> None:
    done = backtest(folder, *by("two"))
    assert done.returncode == 1
    assert "2019-01-03: agent guest: it wrote more than one line to a question" in done.stderr
    assert "1 question answered" in done.stderr
    gone = backtest(folder, "--set", 'agents.guest.params.command=["./nothing"]')
    assert "the command './nothing' does not start: No such file or directory" in gone.stderr


@pytest.mark.long
def test_an_address_is_asked_as_a_command_is(folder: Path) -> None:
    def half(request: Any, question: Any) -> None:
        body = json.dumps({"id": question["id"], "weights": {"SPY": 0.5}, "reason": "half"}).encode()
        request.send_response(200)
        request.end_headers()
        request.wfile.write(body)

    with served(half) as address:
        sets = ("--set", f'agents.guest.params={{address="{address}", lookback=20}}')
        first = answer(backtest(folder, "--json", *sets))
    assert first["outside"] == [{"agent": "guest", "asked": SAMPLES, "stored": 0}]
    assert answer(backtest(folder, "--json", *sets))["digest"] == first["digest"]


@pytest.mark.long
def test_an_address_that_refuses_drips_or_is_away_ends_the_run(folder: Path) -> None:
    def refuse(request: Any, question: Any) -> None:
        request.send_error(503)

    def drip(request: Any, question: Any) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(40):
            try:
                request.wfile.write(b" ")
            except OSError:
                return
            time.sleep(0.05)

    for reply, text in ((refuse, "status 503 in place of 200"), (drip, "no answer within 0.5 s")):
        with served(reply) as address:
            done = backtest(folder, "--set", f'agents.guest.params={{address="{address}", timeout_s=0.5, lookback=20}}')
        assert (done.returncode, f"2019-01-02: agent guest: {text}; 0 questions" in done.stderr) == (1, True), done
    away = backtest(folder, "--set", f'agents.guest.params={{address="{address}", lookback=20}}')
    assert "ConnectionRefusedError" in away.stderr


@pytest.mark.long
def test_answers_survive_a_kill_and_a_rerun_asks_only_what_is_missing(folder: Path) -> None:
    words = [sys.executable, "-m", "quantd.daemon.cli", "backtest", "--no-compare", *by("slow")]
    run = subprocess.Popen(words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while stored(folder) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=30)
    assert run.returncode == -signal.SIGKILL
    kept = stored(folder)
    assert 4 <= kept < SAMPLES
    done = answer(backtest(folder, "--json", *by("slow")))
    assert done["outside"] == [{"agent": "guest", "asked": SAMPLES - kept, "stored": kept}]
    # a damaged answer is asked for again
    damaged = next((folder / "state" / "answers").glob("*/*.json"))
    os.truncate(damaged, 10)
    again = answer(backtest(folder, "--json", *by("slow")))
    assert (again["outside"][0]["asked"], again["digest"]) == (1, done["digest"])


def test_an_option_for_nobody_is_refused(folder: Path) -> None:
    done = backtest(folder, "--rename", "--set", "agents.guest.params={}")
    assert done.returncode == 2
    assert "no agent with a command or an address is configured" in done.stderr


def test_an_answer_is_the_body_of_a_proposal() -> None:
    body = {"id": "a-1", "weights": {"SPY": 0.5}, "reason": "r", "expires": "", "plan": ""}
    assert msgspec.to_builtins(msgspec.convert(body, Answer)) == body
    other_sources = {"orders", "policy", "agent", "symbols", "whole"}  # a backtest asks for weights
    assert set(Answer.__struct_fields__) | other_sources == set(Propose.__struct_fields__)

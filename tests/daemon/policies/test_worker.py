"""A policy in a process of its own answers as in line; one that is late, dies or sends nonsense harms nobody else."""

import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import Apart, Worker
from quantd.daemon.policies.isolation.worker_messages import CALLS, VALUES
from quantd.daemon.policies.loading import PolicyError, answer, load
from quantd.models.isolation.child import MESSAGE_BYTES
from quantd.risk.limits.catalogue import PROFILES
from quantd.strategies.policies import COMPOSITES, POLICIES
from quantd.trading.bars import FIELDS, BarRing
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.macro import MacroHistory, series_columns
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import View
from tests.support.checkout import ROOT
from tests.support.engine import World, block, walk
from tests.support.policies import market

DAYS = 25
HERE = ROOT / "tests/support"
SYMBOLS = ("AAPL", "BAC", "IWM", "QQQ", "SPY")


@pytest.fixture
def closing() -> Iterator[list[Worker | Deadline]]:
    opened: list[Worker | Deadline] = []
    yield opened
    for worker in opened:
        worker.close()


def worker_of(closing: list[Worker | Deadline], name: str, **params: object) -> Worker:
    worker = Apart().file(HERE / "worker_policies.py", name, params)
    closing.append(worker)
    return worker


def file(folder: Path, source: str, closing: list[Worker | Deadline], **params: object) -> Worker:
    (folder / "value.py").write_text(source)
    worker = Apart().file(folder / "value.py", "act", params)
    closing.append(worker)
    return worker


def rich_view(samples: int = 300) -> View:
    """A view with all that a view can have: history longer than any lookback, bars, series."""
    size = len(SYMBOLS)
    ring, by_date = Ring(size, 260), Ring(size, 260)
    bars = BarRing(size, 260)
    scores = (*series_columns("esg", SYMBOLS), *series_columns("sentiment", SYMBOLS))
    macro = MacroHistory(("vix", "rate", *scores), 260)
    prices = market(3, size, samples)
    for row, marks in enumerate(prices):
        bars.forming[:] = marks
        bars.forming[4] = 1000.0 + row
        bars.sample(row * 86_400_000_000_000, marks, [])
        ring.append(marks)
        by_date.append(marks * (1.0 + row / 7e3))
        macro.sample([10.0 + row, row / 7.0, *(row / (3.0 + k) for k in range(len(scores)))])
    weights = np.full(size, 0.2)
    for array in (weights, prices[-1]):
        array.flags.writeable = False
    return View(
        universe=Universe(tuple(Instrument(s) for s in SYMBOLS)), ring=ring, by_date=by_date, prices=prices[-1],
        weights=weights, cash=0.2,
        equity=123456.78, time=1_700_000_000_000_000_000, sample_time=1_700_000_000_000_000_000, bars=bars, macro=macro,
    )  # fmt: skip


def same(here: Decided, there: Decided) -> None:
    """Equal to the bit."""
    assert not here.failed
    assert there == here


@pytest.mark.long
def test_a_run_with_a_worker_is_the_run_in_line(closing: list[Worker | Deadline]) -> None:
    def world(policy: Policy) -> World:
        run = World(block(walk(DAYS, 3, 1)), [lambda v: [0.3, 0.3, 0.3]], house=PROFILES["research"])
        run.policies = [policy]  # type: ignore[list-item]
        return run

    straight = world(load("worker_policies.py:Remembering", {}, HERE)).run()
    worker = worker_of(closing, "Remembering")
    run, deadline = world(worker), Deadline([worker], limit_s=30.0)
    closing.append(deadline)
    run.shell.answer = deadline
    run.run()
    assert run.shell.digest.hexdigest() == straight.shell.digest.hexdigest()
    assert any(straight.shell.state.ledger.books[0].lots)


def test_each_public_name_of_a_view_travels() -> None:
    public = {name for name in dir(View) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(View, name))}
    # a new method of View: name it in CALLS, or run it in the process; where it fills rows on demand, call it in
    # Deadline.begin too
    assert methods == {*CALLS, "held_by", "shared", "shared_by_date"}
    assert public - methods == {*VALUES, "universe"}


SEEING = """
import numpy as np
LOOKBACK = 5
def act(view, memory):
    seen = view.bars(9)
    parts = [view.prices, view.weights, [view.cash, view.equity, view.time, view.sample_time], view.returns(5).ravel(),
             view.returns(260).ravel(), view.synchronous(5).ravel(), view.synchronous(260).ravel(), seen.session,
             *(getattr(seen, n).ravel() for n in %r), view.macro("vix", 260),
             view.macro("rate", 3), view.series("esg", 4).ravel(),
             view.deviation(260), view.mean(7), view.momentum(20), view.momentum(20, 3),
             view.covariance(99).ravel()]
    return [0.1] * len(view.prices), {"seen": np.concatenate(parts)}
"""


def test_all_that_a_view_shows_is_seen_to_the_bit(tmp_path: Path, closing: list[Worker | Deadline]) -> None:
    source = SEEING % (FIELDS,)
    worker, question = file(tmp_path, source, closing), Ask(1, 2, rich_view(), {})
    there = answer(worker, question)
    here = answer(load("value.py:act", {}, tmp_path), question)
    same(here, there)
    assert len(here.memory["seen"][1]) > 8 * 1_000


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    "wrong",
    [
        "returns(261)",
        "synchronous(261)",
        "returns(0)",
        "macro('none', 3)",
        "series('none', 3)",
        "series('esg', 900)",
        "bars(900)",
    ],
)
def test_what_a_view_refuses_it_refuses_alike(tmp_path: Path, wrong: str, closing: list[Worker | Deadline]) -> None:
    worker = file(tmp_path, f"def act(view):\n    return view.{wrong}\n", closing)
    question = Ask(1, 2, rich_view(), {})
    here, there = answer(load("value.py:act", {}, tmp_path), question), answer(worker, question)
    assert here.failed == there.failed != ""


def test_a_view_that_is_over_shows_nothing_more(tmp_path: Path, closing: list[Worker | Deadline]) -> None:
    source = "kept = []\ndef act(view):\n    kept.append(view)\n    kept[0].returns(2)\n"
    source += "    return [0.1] * len(view.prices)\n"
    worker = file(tmp_path, source, closing)
    view = rich_view()
    assert not answer(worker, Ask(1, 0, view, {})).failed
    assert answer(worker, Ask(2, 0, view, {})).failed.startswith("RuntimeError: this view is of an earlier sample")


PARAMS: Mapping[str, dict[str, object]] = {
    "fixed_mix": {"weights": {"SPY": 0.5, "QQQ": 0.2}},
    "linear_ranker": {"features": ("momentum_20", "volatility_20"), "history": 60},
    "min_variance": {"constraints": {"max_turnover": 0.2}},
    "signals": {"features": {"momentum_126": 1.0, "rsi_14": -0.5}},
}


@pytest.fixture(scope="module")
def one_view() -> View:
    return rich_view()


ALL_IN_ONE = """
from pathlib import Path
from quantd.daemon.policies.loading import load
policies = [load(name, params, Path({folder!r})) for name, params in {policies!r}]
LOOKBACK = max(policy.lookback for policy in policies)
USES_BARS = True
class Counted:
    samples = 300  # a file is not shown how many there were
    def __init__(self, view):
        self.view = view
    def __getattr__(self, name):
        return getattr(self.view, name)
def act(view, memory):
    asked = policies[int(memory.pop("asked")[0])]
    return asked.act(Counted(view), memory)
"""
"""A file with many policies, of which the memory of a question names one: a process for each would take half a second
of CPU."""

MINE = {"policy": "worker_policies.py:Remembering"}
MEMBERS: dict[str, dict[str, object]] = {
    "ensemble": {
        "members": (MINE, {"policy": "momentum"}, {"policy": "min_variance", "params": PARAMS["min_variance"]})
    },
    "dynamic": {"base": MINE},
    "momentum_tilted": {"base": MINE},
    "regime_switched": {"bull": MINE, "bear": MINE, "volatile": {"policy": "equal_weight"}},
}


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", sorted(COMPOSITES))
def test_a_composite_of_workers_answers_as_in_line(name: str, one_view: View, closing: list[Worker | Deadline]) -> None:
    here, there = load(name, MEMBERS[name], HERE), load(name, MEMBERS[name], HERE, Apart())
    closing += (workers := [leaf for leaf in leaves(there) if isinstance(leaf, Worker)])
    assert len(workers) == str(MEMBERS[name]).count("Remembering") + str(MEMBERS[name]).count("min_variance")
    question = Ask(1, 2, one_view, {})
    first, then = answer(here, question), answer(there, question)
    same(first, then)
    again = Ask(2, 2, one_view, {k: np.frombuffer(data).reshape(shape) for k, (shape, data) in first.memory.items()})
    same(answer(here, again), answer(there, again))


def agents_of_examples() -> list[tuple[str, dict[str, object]]]:
    agents = []
    for path in sorted((ROOT / "examples").rglob("*.toml")):
        for agent in tomllib.loads(path.read_text()).get("agents", []):
            policy = agent["policy"]
            # a file is named from the folder of its configuration
            is_beside = ".py:" in policy and (path.parent / policy.partition(":")[0]).is_file()
            place = f"{path.parent.relative_to(ROOT)}/{policy}" if is_beside else policy
            agents.append((place, agent.get("params", {})))
    return agents


@pytest.mark.long
def test_all_policies_answer_in_one_worker_as_in_line(
    tmp_path: Path, one_view: View, closing: list[Worker | Deadline]
) -> None:
    """The registered policies, the shipped artifacts, and those of the examples; one with constraints has a process of
    its own above, because its solver takes seconds to load."""
    shipped = sorted(path.parent.name for path in (ROOT / "models/shipped").glob("*/manifest.json"))
    policies: list[tuple[str, dict[str, object]]] = [(name, PARAMS.get(name, {})) for name in sorted(POLICIES)]
    policies += [(f"models/shipped/{artifact}", {}) for artifact in shipped]
    policies += [(name, params) for name, params in agents_of_examples() if ".py:" not in name]
    policies = [(name, params) for name, params in policies if "constraints" not in params]
    worker = file(tmp_path, ALL_IN_ONE.format(policies=policies, folder=str(ROOT)), closing)
    straight = load("value.py:act", {}, tmp_path)
    for number, (name, _) in enumerate(policies):
        memory = {"asked": np.array([float(number)]), "left": np.array([1.0, 2.0])}
        here, there = (answer(policy, Ask(1, 2, one_view, dict(memory))) for policy in (straight, worker))
        assert not here.failed, name
        assert there == here, name


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(("name", "params"), [agent for agent in agents_of_examples() if ".py:" in agent[0]])
def test_each_file_of_the_examples_answers_in_a_worker_as_in_line(
    name: str, params: dict[str, object], one_view: View, closing: list[Worker | Deadline]
) -> None:
    question = Ask(1, 2, one_view, {})
    path, _, attribute = name.partition(":")
    worker = Apart().file(ROOT / path, attribute, params)
    closing.append(worker)
    same(answer(load(name, params, ROOT), question), answer(worker, question))


@pytest.mark.long
def test_one_that_hangs_is_killed_at_its_deadline_and_answers_again(closing: list[Worker | Deadline]) -> None:
    view = rich_view()
    worker = worker_of(closing, "Hanging", at=view.time)
    worker.limit_s = 0.3
    late = answer(worker, Ask(1, 2, view, {}))
    assert late.failed == "no answer within 0.3 s; its process is started anew"
    assert late.weights is None
    assert worker._child is None, "nothing that its import left behind runs until the next question"
    worker.limit_s = 30.0
    other = rich_view()
    other.time += 1
    assert not answer(worker, Ask(1, 2, other, {})).failed


def test_a_policy_file_is_never_asked_in_the_daemons_own_process() -> None:
    inside = load("ensemble", {"members": [MINE, {"policy": "equal_weight"}]}, HERE)
    with pytest.raises(TypeError, match="without a separate process"):
        Deadline([inside])


def test_a_process_ends_with_its_worker() -> None:
    worker = Apart().file(HERE / "worker_policies.py", "Remembering", {})
    process = worker._child.process
    assert process is not None
    assert process.poll() is None
    del worker
    assert process.poll() is not None


@pytest.mark.long
def test_a_process_ends_with_the_daemon_however_that_ends(tmp_path: Path) -> None:
    (tmp_path / "spin.py").write_text("import threading\ndef spin():\n    while True: pass\n"
                                      "threading.Thread(target=spin).start()\ndef act(view):\n    return "
                                          "'hold'\n")  # fmt: skip
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom quantd.daemon.policies.isolation.worker import Apart\n"
        f"w = Apart().file(Path({str(tmp_path / 'spin.py')!r}), 'act', {{}})\n"
        "print(w._child.process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, until = int(done.stdout), time.monotonic() + 5.0
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.long
def test_between_questions_its_threads_do_not_run(tmp_path: Path, closing: list[Worker | Deadline]) -> None:
    source = (
        "import threading\ndef spin():\n    while True: pass\n"
        "def act(view):\n    threading.Thread(target=spin, daemon=True).start()\n    return 'hold'\n"
    )
    worker = file(tmp_path, source, closing)
    assert not answer(worker, Ask(1, 2, rich_view(), {})).failed
    assert worker._child is not None

    def used() -> int:
        assert worker._child is not None
        fields = Path(f"/proc/{worker._child.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.1)
    before = used()
    time.sleep(0.3)
    assert used() - before <= 1


LOADING = [
    ("def act(view)\n", r"value\.py:1: expected ':'; correct that line"),
    ("x = 1\nraise ValueError('\\x1b]0;no\\x07')\n", r"value\.py:2: ValueError:  \]0;no ; correct that line"),
    ("import os\nos._exit(9)\n", r"value\.py: its process ended \(exit status 9\) while it was loaded"),
    ("import numpy as np\nnp.ones(400_000_000)\n", "MemoryError"),
    (
        "LOOKBACK = 10**9\ndef act(view): pass\n",
        "lookback = 1000000000 is not valid; write a whole number of samples, 1 to 100000",
    ),
    (
        "import msgspec, os, struct\nd = msgspec.msgpack.encode({'type': 'Loaded', 'lookback': 10**9, 'uses_bars': "
        "False})\n"
        "[os.write(f, struct.pack('<Q', len(d)) + d) for f in range(3, 9) if os.path.exists(f'/proc/self/fd/{f}') and "
        "__import__('fcntl').fcntl(f, 3) & 3 == 1]\nimport time; time.sleep(9)\n",
        "its process sent another message before that it is ready while it was loaded",
    ),
]


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(("source", "said"), LOADING)
def test_a_file_that_cannot_be_loaded_is_refused_with_its_line(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "value.py").write_text(source)
    with pytest.raises(PolicyError, match=said):
        load("value.py:act", {}, tmp_path, Apart())


RAW = """
import os, struct
def target():
    for fd in range(3, 60):
        try:
            if os.readlink(f"/proc/self/fd/{{fd}}").startswith("pipe:") and (__import__("fcntl").fcntl(fd, 3) & 3) == 1:
                return fd
        except OSError:
            pass
def act(view):
    data = {data}
    out = {framed}
    os.write(target(), out)
    import time; time.sleep(1)
    return "hold"
"""
FRAMED = "struct.pack('<Q', len(data)) + data"
NONSENSE = {
    "a pickle": (
        "b'cos\\nsystem\\n(S\\'touch /tmp/owned\\'\\ntR.'", FRAMED, "its process sent a message that is no answer",
    ),
    "noise": ("bytes(range(200))", FRAMED, "its process sent a message that is no answer"),
    "a length": ("b''", "struct.pack('<Q', 1 << 60)", f"more than {MESSAGE_BYTES}"),
    "an early answer": (
        "__import__('msgspec').msgpack.encode({'type': 'Answered', 'n': 7, 'decided': {'type': 'Decided', 'round': 1, "
        "'agent': 2}, 'printed': ''})", FRAMED, "its process sent an unexpected message",
    ),
    "another method": (
        "__import__('msgspec').msgpack.encode({'type': 'Call', 'n': 1, 'name': '__class__', 'arguments': []})", FRAMED,
        "its process sent an unexpected message",
    ),
    "weights of another size": (
        "__import__('msgspec').msgpack.encode({'type': 'Answered', 'n': 1, 'decided': {'type': 'Decided', 'round': 1, "
        "'agent': 2, 'weights': b'1234567'}, 'printed': ''})", FRAMED, "buffer size must be a multiple",
    ),
    "memory of another shape": (
        "__import__('msgspec').msgpack.encode({'type': 'Answered', 'n': 1, 'decided': {'type': 'Decided', 'round': 1, "
        "'agent': 2, 'memory': {'x': [[3], b'12345678']}}, 'printed': ''})", FRAMED, "cannot reshape",
    ),
}  # fmt: skip


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("name", NONSENSE)
def test_a_process_that_sends_nonsense_is_a_failed_answer(
    tmp_path: Path, name: str, closing: list[Worker | Deadline]
) -> None:
    data, framed, said = NONSENSE[name]
    worker = file(tmp_path, RAW.format(data=data, framed=framed), closing)
    worker.limit_s = 60.0
    assert said in answer(worker, Ask(1, 2, rich_view(), {})).failed


@pytest.mark.long
def test_a_process_that_does_not_read_is_late_and_blocks_nobody(
    tmp_path: Path, closing: list[Worker | Deadline]
) -> None:
    wanted = "__import__('msgspec').msgpack.encode({'type': 'Call', 'n': 1, 'name': 'returns', 'arguments': [260]})"
    source = RAW.format(data=wanted, framed=f"({FRAMED}) * 400").replace("sleep(1)", "sleep(60)")
    worker = file(tmp_path, source, closing)
    worker.limit_s = 0.5
    assert "does not read its question" in answer(worker, Ask(1, 2, rich_view(), {})).failed


def failures(worker: Worker, calls: int, limit_s: float = 1.0, *, in_a_row: int | None = None) -> list[bool]:
    """Whether each of some calls in a row failed; after so many failures in a row no further call is made."""
    deadline, view = Deadline([worker], limit_s), rich_view(30)
    failed_calls: list[bool] = []
    for k in range(calls):
        failed_calls.append(bool(deadline(Ask(k, 0, view, {})).failed))
        if in_a_row and failed_calls[-in_a_row:] == [True] * in_a_row:
            break
    return failed_calls


SLOW_LOAD = """
import os, time
HERE = os.path.dirname(os.path.abspath(__file__))
if os.path.exists(os.path.join(HERE, "again")):
    time.sleep({slow})
n = 0
def act(view):
    global n
    n += 1
    if n == 2:
        os._exit(0)
    return [0.0] * len(view.prices)
"""


@pytest.mark.long
@pytest.mark.parametrize("slow", [4.0, 250.0])
def test_a_new_load_counts_against_the_time_of_the_answer_and_goes_on(
    tmp_path: Path, closing: list[Worker | Deadline], slow: float
) -> None:
    worker = file(tmp_path, SLOW_LOAD.format(slow=slow), closing)
    (tmp_path / "again").touch()
    assert failures(worker, 1, limit_s=60.0) == [False]
    assert failures(worker, 1) == [True]
    if slow < 60.0:  # it is loaded meanwhile, and not from the beginning at each call
        until = time.monotonic() + 100.0
        while failures(worker, 1) == [True]:
            assert time.monotonic() < until
    else:
        assert failures(worker, 3) == [True] * 3


ENDS = [("os._exit(0)", 3), ("os.abort()", 3), ("__import__('ctypes').string_at(0)", 2)]


@pytest.mark.long
@pytest.mark.parametrize(("ends", "every"), ENDS)
def test_a_process_that_ends_again_and_again_fails_until_its_agent_is_suspended(
    tmp_path: Path, closing: list[Worker | Deadline], ends: str, every: int
) -> None:
    source = f"import os\nn = 0\ndef act(view):\n    global n\n    n += 1\n    if n == {every}:\n        {ends}\n"
    source += "    return [0.0] * len(view.prices)\n"
    worker = file(tmp_path, source, closing)
    failed_calls = failures(worker, 4 * every + 6, limit_s=60.0, in_a_row=3)
    runs = "".join("x" if failed else "." for failed in failed_calls).split(".")
    assert max(map(len, runs)) >= 3, failed_calls
    assert not failed_calls[failed_calls.index(True) + 1]  # one end alone costs one answer


@pytest.mark.long
def test_ten_answers_in_a_row_make_up_for_an_earlier_end(tmp_path: Path, closing: list[Worker | Deadline]) -> None:
    source = "import os\nn = 0\ndef act(view):\n    global n\n    n += 1\n    if n == 11:\n        os._exit(0)\n"
    source += "    return [0.0] * len(view.prices)\n"
    failed_calls = failures(file(tmp_path, source, closing), 66, limit_s=60.0)
    assert [k for k, failed in enumerate(failed_calls, 1) if failed] == [11, 22, 33, 44, 55, 66]

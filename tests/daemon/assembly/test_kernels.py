"""Every kernel gives the same bits interpreted, compiled, and compiled for a processor without extensions.

The calls of each kernel are recorded from whole runs of the engine, and made again in processes of their own. A kernel
that no such run calls fails the test: give it a run.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantd.daemon.assembly.compiler import _made, compile_kernels, interpret_kernels

from benchmarks import engine
from quantd.daemon.engine.planning.targets import headroom
from quantd.strategies.policies import POLICIES
from quantd.trading import jit
from quantd.trading.ports import Policy
from tests.support.checkout import ROOT, kernel_cache
from tests.support.command_line import answer, quantd, write

CALLS = 60
"""Recorded calls of each kernel: the first ones, then every 20th."""

SESSIONS = 300

SCRATCH = {
    "quantd.daemon.engine.batches.kernel.take_rows": {"rows"},
}
"""Kernel -> arguments that nobody reads after a call: numpy's partition leaves another order there than the loop."""


def digests(folder: Path) -> list[str]:
    """The digests of whole runs: recorded markets with agents, actions and schedules, and synthetic ones."""
    (folder / "small").mkdir(exist_ok=True)
    write(folder / "small")
    found = [answer(quantd(each, "backtest", "--json", "--no-compare"))["digest"] for each in (ROOT, folder / "small")]
    three: list[Policy] = [
        POLICIES["equal_weight"]({}),
        POLICIES["inverse_volatility"]({"lookback": 63}),
        POLICIES["momentum"]({"lookback": 126}),
    ]
    runs: tuple[tuple[int, list[Policy], int], ...] = (
        (20, [engine.Rotating()], 1), (20, three, 1), (20, three, 21), (1, [engine.Quiet()], 1),
        (130, [engine.Rotating()], 1),
    )  # fmt: skip
    for symbols, policies, every in runs:
        for limits in (engine.LIMITS, engine.MORE):
            block, universe, sessions = engine.market(symbols, SESSIONS)
            body = engine.shell(universe, sessions, policies, True, limits)
            body.take_all(engine.timeline(block, every, len(policies)))
            found.append(f"{body.digest.hexdigest()} {body.state.equity_micro}")
    # of a rule that rebalances by what fits into the limits
    weights = np.random.default_rng(engine.SEED).normal(0.05, 0.2, 20)
    weights.flags.writeable = False
    return [*found, repr(headroom(weights, engine.LIMITS, engine.LIMITS))]


def name_of(entry: "jit.Entry[..., Any]") -> str:
    return f"{entry.python.__module__}.{entry.python.__name__}"


def copied(args: tuple[Any, ...]) -> list[Any]:
    return [np.array(a) if isinstance(a, np.ndarray | memoryview) else a for a in args]


@contextmanager
def recorded() -> Iterator[dict[str, list[list[Any]]]]:
    """Records calls of each kernel."""
    calls: dict[str, list[list[Any]]] = {name_of(entry): [] for entry in jit.ENTRIES}
    seen = dict.fromkeys(calls, 0)

    def watched(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            seen[name] += 1
            if len(calls[name]) < CALLS and (seen[name] <= CALLS // 2 or not seen[name] % 20):
                calls[name].append(copied(args))
            return run(*args)

        return call

    for entry in jit.ENTRIES:
        entry.run, entry.arrays = watched(name_of(entry), entry.run), True
    yield calls
    interpret_kernels()


def results(calls: dict[str, list[list[Any]]]) -> dict[str, str]:
    """Kernel -> digest of what each call returns and leaves in its arrays."""
    found = {}
    for entry in jit.ENTRIES:
        bits, names = blake2b(digest_size=16), entry.python.__code__.co_varnames
        scratch = SCRATCH.get(name_of(entry), set())
        for args in calls[name_of(entry)]:
            own = copied(tuple(args))
            bits.update(repr(entry.run(*own)).encode())
            for name, each in zip(names, own, strict=False):
                bits.update(each.tobytes() if isinstance(each, np.ndarray) and name not in scratch else b"")
        found[name_of(entry)] = bits.hexdigest()
    return found


def main(folder: Path, compiled: bool) -> None:
    """One process of the test: its results as JSON."""
    kinds: dict[str, int] = {}
    if compiled:
        assert compile_kernels(wait=True) == ""
        runs = digests(folder)
        kinds = {name_of(entry): len(_made[entry.python].signatures) for entry in jit.ENTRIES}
        with (folder / "calls").open("rb") as file:
            calls = pickle.load(file)
    else:
        with recorded() as calls:
            runs = digests(folder)
        with (folder / "calls").open("wb") as file:
            pickle.dump(calls, file)
    made = results(calls)
    never = [name for name, each in calls.items() if not each]
    sys.stdout.write(json.dumps({"runs": runs, "results": made, "kinds": kinds, "never": never}) + "\n")


@pytest.mark.long
@pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
@pytest.mark.timeout(900)
def test_every_kernel_and_whole_runs_give_the_same_bits_interpreted_compiled_and_compiled_for_any_processor(
    tmp_path, tmp_path_factory
):
    def process(compiled: bool, **environ: str) -> dict[str, Any]:
        code = "from pathlib import Path; from tests.daemon.assembly.test_kernels import main; "
        code += f"main(Path({str(tmp_path)!r}), {compiled})"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
        paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"} | kernel_cache(tmp_path_factory)
        done = subprocess.run(
            [sys.executable, "-c", code], env=inherited | paths | environ, cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    interpreted = process(False)
    assert interpreted["never"] == []
    for compiled in (process(True), process(True, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")):
        assert compiled["results"] == interpreted["results"]
        assert compiled["runs"] == interpreted["runs"]
        # another kind of arguments, such as a read-only array, is compiled again while the run waits
        assert {name: count for name, count in compiled["kinds"].items() if count != 1} == {}

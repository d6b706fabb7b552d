"""SIGKILL at any instant: a child forked from a warmed parent, with the real store, venue, journal and service loop.

    python -m tests.proofs.simulation.kills --kills 100 --seed 0 [--whole 5]

Runs one recorded market again and again. Each run is killed at random instants and taken up again until its feed ends;
then its digest and its read models must be those of a run that nothing happened to. `--whole` kills
the whole `quantd run`, as a process of its own. Exit 1 when anything differed.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quantd.adapters.store.handle import Store
from quantd.adapters.store.upkeep.verify import verify
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import load
from quantd.daemon.monitoring.metrics import configure
from quantd.daemon.recovery.start import begin
from quantd.daemon.recovery.stored_run import recover, this_run
from quantd.daemon.runtime import service as service_module
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import instants
from tests.support.calendar_files import with_calendar
from tests.support.checkout import ROOT
from tests.support.command_line import quantd
from tests.support.fold import by_handlers

CONFIG = """
[quantd]
name = "killed"

[universe]
symbols = ["SPY", "AAPL", "BAC", "QQQ"]
benchmark = "SPY"
calendar = "XNYS"

[feed]
path = "{data}/us_daily.parquet"
actions = "{data}/us_actions.csv"
stamps = "session"
start = 2020-06-01
end = {end}
warmup = 100
pace = "{pace}"
at_end = "stop"

[broker]
cash = "100000.00"
commission_bp = 1.0
slippage_bp = 1.0
participation = {participation}
borrow_bp_annual = 50.0

[risk]
max_gross_exposure = 1.0
max_position_weight = 0.5
max_drawdown = 0.2

[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.4
profile = "aggressive"

[[agents]]
name = "parity"
policy = "inverse_volatility"
capital = 0.3
profile = "aggressive"
params = {{ lookback = 21 }}

[[agents]]
name = "trend"
policy = "momentum"
capital = 0.3
profile = "aggressive"
params = {{ lookback = 21 }}
min_trade = 0.0

[capital]
method = "equal_risk"
lookback = 20

[[schedules]]
name = "capital"
do = "reallocate"
cron = "0 16 * * fri"
timezone = "America/New_York"

[bus]
kind = "embedded"
port = 0

[api]
port = 0
"""

SHADOW = """
[[agents]]
name = "rival"
policy = "equal_weight"
capital = 0.3
profile = "aggressive"
shadow = true
challenges = "trend"

[promotion]
samples = 40
confidence = 0.5

[[schedules]]
name = "promotion"
do = "promote"
cron = "0 16 * * wed"
timezone = "America/New_York"
"""
"""A shadow on paper; beside it small orders fill in parts."""

END, LATER_END = "2020-09-11", "2020-12-31"
"""The last day of a run of a forked child, which the split of AAPL and a dividend of each share precede, and that of a
run of the whole daemon, which no life may reach."""

READ_MODELS = ("orders", "fills", "crosses", "decisions", "equity", "bookings", "switches", "house")
"""Tables that must be the same to the last value; but for the name of the run and numbers of steps, which restarts add
to."""


def written(folder: Path, pace: str = "fast", *, folds: bool = False, end: str = END) -> Path:
    """The configuration of these runs; without `folds` orders fill in parts, and a shadow trades beside the account."""
    path = folder / "config.toml"
    text = CONFIG.format(data=ROOT / "data", pace=pace, end=end, participation=0.1 if folds else 0.001)
    path.write_text(text if folds else text + SHADOW)
    return path


def assembled(folder: Path, *, folds: bool) -> Assembly:
    return assemble(load(written(folder, folds=folds), known_names(), environ={}), cache=folder / "cache")


def uninterrupted(assembly: Assembly) -> str:
    """The digest of a backtest by handlers."""
    shell = by_handlers(assembly.shell())
    begin(shell, assembly, assembly.config, "0", fresh=True)
    for item in assembly.items():
        shell.take(item)
    return shell.digest.hexdigest()


async def drive(assembly: Assembly, folder: Path) -> str:
    """What `quantd run` does between opening its store and closing it, without bus and API; the digest."""
    configure("ERROR", "console")
    # small commits and snapshots: more instants at which something is half done
    service_module.COMMIT_S, service_module.SNAPSHOT_STEPS = 0.004, 150
    names = [a.name for a in assembly.rules.agents]
    with Store.open(folder) as store:
        run = this_run(assembly, store)
        store.begin(run, assembly.universe, agents=names)
        shell, journal = recover(assembly, store, run, folder)
        projection = store.begin(run, assembly.universe, agents=names)
        service = Service(
            shell, journal, store, projection, config=assembly.config, run=run,
            state_folder=folder, alerts=AlertFilter(("INFO",), 1000, "", "UTC"),
        )  # fmt: skip
        service.quarantine = begin(shell, assembly, assembly.config, run, fresh=journal.seq == 0)
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(feed_recorded(service, instants(assembly.items(), shell.ts), "fast", "stop"))
            await service.step_forever()
            feed.cancel()
        (folder / "samples").write_text(" ".join(map(str, shell.samples)))
        return shell.digest.hexdigest()


def child(assembly: Assembly, folder: Path) -> int:
    """A forked child at work; its process id. It writes the digest when the feed has ended."""
    pid = os.fork()
    if pid:
        return pid
    try:
        digest = asyncio.run(drive(assembly, folder))
        (folder / "digest").write_text(digest)
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def killed_run(assembly: Assembly, folder: Path, rng: random.Random, longest_s: float) -> int:
    """One run to its end over kills at random instants; how many there were. RuntimeError when a child fails."""
    kills = 0
    while True:
        pid = child(assembly, folder)
        deadline = time.monotonic() + rng.uniform(0.0, longest_s)
        status = None
        while time.monotonic() < deadline:
            child_pid, status = os.waitpid(pid, os.WNOHANG)
            if child_pid:
                break
            time.sleep(0.0005)
            status = None
        if status is None:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            kills += 1
            longest_s *= 1.1  # on a busy machine a child may need longer to get anywhere
        elif os.WEXITSTATUS(status):
            raise RuntimeError(f"a child failed after {kills} kills")
        else:
            return kills


def read_models(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Rows of each read model without the names of runs and the numbers of steps."""
    rows_by_table = {}
    with sqlite3.connect(f"file:{folder / 'quantd.db'}?mode=ro", uri=True) as connection:
        for table in READ_MODELS:
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            wanted = ", ".join(f'"{c}"' for c in columns if c not in ("run", "seq", "k", "id"))
            rows_by_table[table] = sorted(connection.execute(f"select {wanted} from {table}").fetchall(), key=repr)
    return rows_by_table


def differences(folder: Path, reference: dict[str, list[tuple[object, ...]]]) -> list[str]:
    """What is lost, doubled or damaged in a store, beside a run that nothing happened to."""
    wrong = []
    for table, rows in read_models(folder).items():
        expected = reference[table]
        if rows != expected:
            lost, more = len(set(expected) - set(rows)), len(rows) - len(set(rows) & set(expected))
            wrong.append(f"{table}: {lost} rows are missing, {more} are too many")
    with Store.open(folder) as store:
        wrong += verify(store.where, store.folder)
    return wrong


def forked(kills: int, seed: int, *, folds: bool) -> int:
    """Kill forked children until there were so many; how many runs differed. With `folds` the fold takes most bars."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        assembly = assembled(top, folds=folds)
        digest = uninterrupted(assembly)
        wrong, longest_s = 0, 0.0
        for text in ("first", "whole"):
            run_folder = top / text
            run_folder.mkdir()
            began = time.monotonic()
            _, status = os.waitpid(child(assembly, run_folder), 0)
            # most kills fall after the start is over and before the end is near
            longest_s = 0.4 * (time.monotonic() - began)
            wrong += int(status != 0 or (run_folder / "digest").read_text() != digest)
        reference = read_models(run_folder)
        folded, stepped = map(int, (run_folder / "samples").read_text().split())
        wrong += int(folds and folded <= stepped)
        rng, done, runs, began = random.Random(seed), 0, 0, time.monotonic()
        while done < kills:
            folder = top / f"run{runs}"
            folder.mkdir()
            done += killed_run(assembly, folder, rng, longest_s)
            runs += 1
            errors = differences(folder, reference)
            if (folder / "digest").read_text() != digest:
                errors.append("the digest differs from the backtest's")
            for text in errors:
                print(f"seed {seed}, run {runs}: {text}", flush=True)
            wrong += bool(errors)
        orders, fills = len(reference["orders"]), len(reference["fills"])
        print(
            f"{done} kills of a forked child in {runs} runs of {orders} orders and {fills} fills, "
            f"{folded} of {folded + stepped} bars in the fold, {wrong} differences; a whole run takes "
            f"{longest_s / 0.4:.2f} s; {time.monotonic() - began:.0f} s"
        )
        return wrong


def command_line(*words: str) -> list[str]:
    return [sys.executable, "-m", "quantd.daemon.cli", *words]


def whole_daemon(kills: int, seed: int) -> int:
    """Kill the whole `quantd run` so many times, let it end, and compare with `quantd backtest`."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        # slow enough that no life reaches the end of the feed
        config = written(with_calendar(top), pace="8/s", folds=bool(seed % 2), end=LATER_END)
        command = command_line("run", "--config", str(config), "--state", str(top / "state"), "--json")
        log = (top / "log").open("wb")
        done = 0
        while done < kills:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            until = time.monotonic() + rng.uniform(0.5, 4.0)
            while time.monotonic() < until and process.poll() is None:
                time.sleep(0.01)
            if process.poll() is not None:
                break
            process.kill()
            process.wait()
            done += 1
        last = subprocess.run([*command, "--set", "feed.pace=fast"], cwd=ROOT, capture_output=True, timeout=240)
        back = quantd(top, "backtest", "--config", str(config), "--json")
        if last.returncode or back.returncode:
            print(last.stderr.decode()[-2000:], back.stderr[-2000:], file=sys.stderr)
            return 1
        run, backtest = json.loads(last.stdout), json.loads(back.stdout)
        same = {key: run[key] == backtest[key] for key in ("digest", "equity", "cash", "positions")}
        with Store.open(top / "state") as store:
            damage = verify(store.where, store.folder)
        print(f"{done} kills of the whole daemon; equal to the backtest: {same}; damage: {damage or 'none'}")
        return int(done < kills) + (not all(same.values())) + len(damage)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.simulation.kills")
    parser.add_argument("--kills", type=int, default=100, help="kills of a forked child")
    parser.add_argument("--whole", type=int, default=0, help="kills of the whole `quantd run`")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    fewer = asked.kills // 2
    wrong = forked(asked.kills - fewer, asked.seed, folds=True) if asked.kills else 0
    wrong += forked(fewer, asked.seed, folds=False) if fewer else 0
    return int(bool(wrong + (whole_daemon(asked.whole, asked.seed) if asked.whole else 0)))


if __name__ == "__main__":
    sys.exit(main())

"""Measure the time of each part of a decision on this machine, and the memory of a run."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, progress, say, table
from quantd.server.cli.setup.bench_api import api
from quantd.trading.exit_codes import CHECK_FAILED, DONE
from quantd.training.cli.learn.bench_inference import inference

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly

ALLOWED_MS: Final = {"asset update": 5.0, "risk": 50.0, "allocation": 100.0, "inference": 10.0}
"""Part of a decision -> its largest allowed 99th percentile (p99), in ms.

- asset update: one bar of all symbols through the engine
- risk: a full risk report of every book
- allocation: a round, from its requests to its orders
- inference: an answer of a learned policy
"""

RISK_EVERY: Final = 5
"""A risk report is timed at every 5th sample."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Percentiles of `count` times of one part of a decision; `within` is True if the p99 is at most `allowed_ms`."""

    part: str
    count: int
    p50_ms: float
    p99_ms: float
    allowed_ms: float
    within: bool


def portfolio(config: ConfigFile = CONFIG_FILE, state: State = None, sets: Sets = None, as_json: Json = False) -> int:
    """Time an asset update, a risk report, an allocation and an inference; exit code 1 when a p99 is too high."""
    from quantd.daemon.assembly.parts import assemble
    from quantd.daemon.cli.configuration import read

    configuration = read(config, sets)
    peak_before = peak_mib()
    assembly = assemble(configuration, cache=configuration.state_folder(state) / "cache")
    with progress("bench", shown=not as_json) as advance:
        times = measure(assembly, advance)
    rows = [timed(part, times[part]) for part in ALLOWED_MS if times[part]]
    if not any(row.part == "allocation" for row in rows):
        raise Failure(
            "no agent decided between the start and the end of the feed, so there is nothing to time; "
            "set an earlier [feed] start or a later [feed] end"
        )
    memory = {"peak_mib": round(peak_mib(), 1), "of_market_mib": round(peak_mib() - peak_before, 1)}
    if as_json:
        size = {"symbols": assembly.universe.size, "agents": len(assembly.policies)}
        print_json({**size, "parts": rows, "memory": memory})
    else:
        say(f"{assembly.universe.size} symbols, {len(assembly.policies)} agents, every bar of the feed")
        table(
            ("part", "times", "p50 ms", "p99 ms", "allowed ms"),
            [
                (row.part, str(row.count), f"{row.p50_ms:.3f}", f"{row.p99_ms:.3f}", f"{row.allowed_ms:g}")
                for row in rows
            ],
            ("times", "p50 ms", "p99 ms", "allowed ms"),
        )
        say(f"memory: {memory['peak_mib']:.0f} MiB at most, {memory['of_market_mib']:.0f} MiB of it for this market")
    return DONE if all(row.within for row in rows) else CHECK_FAILED


def peak_mib() -> float:
    """The largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak / 1024 / 1024 if sys.platform == "darwin" else peak / 1024


def timed(part: str, times_ns: list[int]) -> Timed:
    """Return the percentiles of the times of one part of a decision; `times_ns` must not be empty."""
    import numpy as np

    p50, p99 = (float(ns) / 1e6 for ns in np.percentile(times_ns, (50, 99)))
    return Timed(part, len(times_ns), p50, p99, ALLOWED_MS[part], p99 <= ALLOWED_MS[part])


def measure(assembly: "Assembly", bar: Callable[[float], None]) -> dict[str, list[int]]:
    """Run the recorded market once, and return the times in ns of each part of a decision.

    `bar` is called with the finished fraction of the run, 0 to 1. Market bars before the start of the run are not
    timed.
    """
    from quantd.daemon.policies.loading import answer
    from quantd.daemon.views.risk_measures import assessed
    from quantd.trading.effects import Ask
    from quantd.trading.events import Decided, Tick
    from quantd.trading.market import MarketSlice
    from quantd.trading.ports import leaves

    times: dict[str, list[int]] = {part: [] for part in ALLOWED_MS}
    shell = assembly.shell()

    def timed_answer(question: Ask) -> Decided:
        policy = assembly.policies[question.policy]
        began = perf_counter_ns()
        decided = answer(policy, question)
        if any(hasattr(leaf, "trained_until_ns") for leaf in leaves(policy)):  # a learned policy
            times["inference"].append(perf_counter_ns() - began)
        return decided

    shell.answer = timed_answer
    samples = 0
    span = max(assembly.feed.last_ts - assembly.start_ns, 1)
    for item in assembly.items():
        began = perf_counter_ns()
        shell.take(item)
        took = perf_counter_ns() - began
        if isinstance(item, MarketSlice):
            if item.ts_event >= assembly.start_ns:
                times["asset update"].append(took)
        elif isinstance(item, Tick) and not item.warmup:
            # an agent decides at this tick: a scheduled agent that it names, or an agent that decides at every tick
            if item.due or not all(agent.scheduled for agent in assembly.rules.agents):
                times["allocation"].append(took)
            samples += 1
            if samples % RISK_EVERY == 0:
                began = perf_counter_ns()
                assessed(shell.state)
                times["risk"].append(perf_counter_ns() - began)
            bar(max(0.0, (item.ts - assembly.start_ns) / span))
    return times


COMMAND: Final = Command("Trade", 50, {"portfolio": portfolio, "inference": inference, "api": api})

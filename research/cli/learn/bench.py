"""Measure the time of each part of a decision, of trained policies, or of the API, and the memory of a run."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from msgspec import Struct

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, progress, records
from quantd.daemon.cli.places import place
from quantd.server.cli.setup.bench_api import request_times
from quantd.trading.exit_codes import CHECK_FAILED, DONE
from quantd.training.cli.learn.bench_inference import decision_times

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly

ALLOWED_MS: Final = {"asset update": 5.0, "risk": 50.0, "allocation": 100.0, "inference": 10.0}
"""Part of a decision -> its largest allowed 99th percentile (p99), in ms.

- asset update: one bar of all symbols through the engine
- risk: a full risk report of every book
- allocation: a round, from its requests to its orders
- inference: an answer of a learned policy
"""

ARTIFACT_MS: Final = 15.0
"""Largest allowed p99 of a decision of an artifact, in ms."""

RISK_EVERY: Final = 5
"""A risk report is timed at every 5th sample."""


class Timed(Struct, frozen=True):
    """Percentiles of `count` times of one part: the median (p50) and the 99th percentile (p99).

    `per_s` is the number a second, one after another. `within` is True if the p99 is at most `allowed_ms`, and where
    nothing is required (None).
    """

    part: str
    count: int
    p50_ms: float
    p99_ms: float
    per_s: float
    allowed_ms: float | None
    within: bool


SECONDS: Final = 3.0
"""Usual duration for each path of the API."""


def bench(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Artifacts, with --part inference; the shipped.")
    ] = None,
    part: Annotated[
        Literal["portfolio", "inference", "api"],
        typer.Option(help="The parts of a decision, trained policies, or reads of the API."),
    ] = "portfolio",
    chosen: RunOptions = DEFAULTS,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Observations in one call of a policy.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processor threads of one call of a policy.")] = 1,
    own: Annotated[
        bool, typer.Option("--running", help=r"Read the running daemon, within its \[api] rate, not a new one.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Duration for each path of the API.")] = SECONDS,
    as_json: Json = False,
) -> int:
    options: dict[str, dict[str, object]] = {
        "inference": {"FOLDER": folders, "--batch": batch != 1, "--threads": threads != 1},
        "api": {"--running": own, "--seconds": seconds != SECONDS},
        "portfolio": {},
    }
    for other in options.keys() - {part}:
        unused(f"--part {part}", options[other])
    peak_before, market_mib = peak_mib(), None
    if part == "api":
        times = request_times(place(chosen.config, chosen.state) if own else None, seconds)
        rows = [timed(name, durations, None) for name, durations in times.items()]
    elif part == "inference":
        times = decision_times(folders or (), batch, threads)
        # of a batch each decision has its share of the time
        rows = [
            timed(name, ns, ARTIFACT_MS * (batch if name.endswith(f" x {batch}") else 1)) for name, ns in times.items()
        ]
    else:
        times = _portfolio_times(chosen)
        rows = [timed(name, times[name], allowed) for name, allowed in ALLOWED_MS.items() if times[name]]
        market_mib = round(peak_mib() - peak_before, 1)
    memory = {"peak_mib": round(peak_mib(), 1), "of_market_mib": market_mib}
    columns = {
        "part": "part", "times": "count:d", "p50 ms": "p50_ms:.3f", "p99 ms": "p99_ms:.3f", "a second": "per_s:,.0f",
        "allowed ms": "allowed_ms:g",
    }  # fmt: skip
    text = f"memory: {memory['peak_mib']:.0f} MiB at most, {market_mib or 0:.0f} MiB of it for this market"
    texts = [] if market_mib is None else [text]
    answer(as_json, {"parts": rows, "memory": memory}, lambda: records(rows, columns), *texts)
    return DONE if all(row.within for row in rows) else CHECK_FAILED


def _portfolio_times(chosen: RunOptions) -> dict[str, list[int]]:
    """Run the recorded market of a configuration, and return the times in ns of each part of a decision."""
    from quantd.daemon.assembly.parts import assemble

    configuration = chosen.read()
    assembly = assemble(configuration, cache=configuration.state_folder(chosen.state) / "cache")
    with progress("bench") as advance:
        times = measure(assembly, advance)
    if not times["allocation"]:
        raise Failure(
            "no agent decided between the start and the end of the feed, so there is nothing to time; "
            "set an earlier [feed] start or a later [feed] end"
        )
    return times


def peak_mib() -> float:
    """The largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak / 1024 / 1024 if sys.platform == "darwin" else peak / 1024


def timed(part: str, times_ns: list[int], allowed_ms: float | None) -> Timed:
    """Return the percentiles of the times of one part of a decision; `times_ns` must not be empty."""
    import numpy as np

    p50, p99 = (float(ns) / 1e6 for ns in np.percentile(times_ns, (50, 99)))
    per_s = 1e9 * len(times_ns) / sum(times_ns)
    return Timed(part, len(times_ns), p50, p99, per_s, allowed_ms, allowed_ms is None or p99 <= allowed_ms)


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


COMMAND: Final = Command("Trade", 50, bench)

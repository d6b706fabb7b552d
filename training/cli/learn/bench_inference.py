"""`quantd bench inference`: the time of trained policies from an observation to weights, single and in batches."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.command import Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, say, table
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE
from quantd.training.cli.learn.artifact_files import place_of

if TYPE_CHECKING:
    import numpy as np

    from quantd.models.artifacts.scorer_policy import ScorerArtifact


ALLOWED_MS: Final = 15.0
"""Largest 99th percentile of the time of a decision."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Times of one artifact, in microseconds; p50 is the median, p99 the 99th percentile.

    `p50_us` and `p99_us` are of one call, from `batch` observations to weights. `whole_p50_us` and `whole_p99_us` are
    of one decision from past returns, as the daemon makes it: features, then weights. `within` is True when both p99,
    per decision, are at most ALLOWED_MS milliseconds.
    """

    artifact: str
    symbols: int
    batch: int
    threads: int
    p50_us: float
    p99_us: float
    decisions_per_s: float
    whole_p50_us: float
    whole_p99_us: float
    within: bool


def inference(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Artifacts; all shipped ones without it.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Observations in one call.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processor threads of one call.")] = 1,
    as_json: Json = False,
) -> int:
    """Time trained policies from an observation to weights; exit code 1 when a p99 is above 15 ms."""
    named_folders = folders or ()
    places = [place_of(f) for f in named_folders] or [
        p for p in sorted(bundled.SHIPPED.iterdir()) if (p / "manifest.json").is_file()
    ]
    rows = [row for place in places if (row := _timed(place, batch, threads, named=bool(named_folders))) is not None]
    if as_json:
        print_json({"allowed_ms": ALLOWED_MS, "artifacts": rows})
    else:
        columns = ("symbols", "p50 µs", "p99 µs", "decisions/s", "with features p50 µs", "p99 µs ")
        say(f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}; a decision may take {ALLOWED_MS:g} ms")
        table(
            ("artifact", *columns),
            [
                (
                    r.artifact, str(r.symbols), f"{r.p50_us:.1f}", f"{r.p99_us:.1f}", f"{r.decisions_per_s:,.0f}",
                    f"{r.whole_p50_us:.1f}", f"{r.whole_p99_us:.1f}",
                )
                for r in rows
            ],
            columns,
        )  # fmt: skip
    return DONE if all(row.within for row in rows) else CHECK_FAILED


def _timed(place: Path, batch: int, threads: int, *, named: bool) -> Inference | None:
    """Time an artifact: decisions from a batch of observations, and one decision with its features.

    The calls take 16 random markets in turn.

    An artifact that is no single policy raises Failure if the user named it (`named`), else gives None.
    """
    import numpy as np

    from quantd.models.artifacts.agent_policy import LearnedAgent
    from quantd.models.artifacts.loader import load_artifact
    from quantd.models.artifacts.scorer_policy import LearnedPolicy
    from quantd.models.observation.sight import observation
    from quantd.training.export.agreement import random_columns, random_market

    policy = load_artifact(place, {})  # {}: no parameters
    draw = np.random.default_rng(1)
    if isinstance(policy, LearnedAgent):
        agent = LearnedAgent(policy.artifact, threads=threads)
        spec, assets = agent.artifact.manifest.sight, len(agent.artifact.manifest.universe)
        markets = [random_market(draw, assets) for _ in range(16)]
        columns = [asset_columns if spec.columns else None for asset_columns in random_columns(spec, assets, 16)]
        observations = np.stack([observation(spec, *markets[k % 16], columns[k % 16]) for k in range(batch)])
        single_observation = observations[:1]
        decide: Callable[[int], object] = (
            (lambda _: agent.decide(single_observation)) if batch == 1 else (lambda _: agent.decide_all(observations))
        )
        answer: Callable[[int], object] = lambda k: agent.answer(*markets[k % 16], columns=columns[k % 16])  # noqa: E731
    elif isinstance(policy, LearnedPolicy):
        assets = len(policy.artifact.manifest.universe)
        decide, answer = _scorer(policy.artifact, assets, batch, threads, draw)
    elif named:
        raise Failure(f"{place}: an ensemble or a forest is not timed; name the artifact of a single policy", CONFIG)
    else:
        return None
    p50, p99 = times_us(decide)
    answer_p50, answer_p99 = times_us(answer)
    within = max(p99 / batch, answer_p99) <= 1e3 * ALLOWED_MS
    return Inference(
        place.name, assets, batch, threads, p50, p99, round(batch / p50 * 1e6), answer_p50, answer_p99, within
    )


def _scorer(
    artifact: "ScorerArtifact", assets: int, batch: int, threads: int, draw: "np.random.Generator"
) -> tuple[Callable[[int], object], Callable[[int], object]]:
    """The two calls of a scorer that are timed: `batch` decisions from features, and one decision from returns."""
    from quantd.models.artifacts.runtime import open_session
    from quantd.models.observation.return_features import LOOKBACK, measure
    from quantd.trading.market import Floats

    run = open_session(artifact.graph, artifact.folder / "policy.onnx", ["features", "mask"], ["weights"], threads).run
    returns: list[Floats] = [draw.normal(0.0, 0.01, (LOOKBACK, assets)) for _ in range(16)]
    inputs = [dict(zip(("features", "mask"), (array[None] for array in measure(r)), strict=True)) for r in returns]

    def decide(k: int) -> None:
        for index in range(batch):  # its graph takes one market at a time
            run(None, inputs[(k + index) % 16])  # None: every output

    def answer(k: int) -> None:
        features, mask = measure(returns[k % 16])
        run(None, {"features": features[None], "mask": mask[None]})

    return decide, answer


def times_us(call: Callable[[int], object]) -> tuple[float, float]:
    """(Median, 99th percentile) of the duration of 2,000 calls, or of as many as fit into 3 s, in microseconds."""
    import numpy as np

    for k in range(20):  # the first calls are slower, and are not counted
        call(k)
    durations: list[int] = []
    stop = perf_counter_ns() + 3 * 10**9
    for k in range(2_000):
        began = perf_counter_ns()
        call(k)
        durations.append(perf_counter_ns() - began)
        if began > stop:
            break
    p50, p99 = np.percentile(durations, (50, 99)) / 1e3
    return round(float(p50), 2), round(float(p99), 2)

"""The times of trained policies from an observation to weights, single and in batches, for `quantd bench`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING

from quantd import bundled
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CONFIG
from quantd.training.cli.learn.artifact_files import place_of

if TYPE_CHECKING:
    import numpy as np

    from quantd.models.artifacts.scorer_policy import ScorerArtifact


def decision_times(folders: Sequence[Path], batch: int, threads: int) -> dict[str, list[int]]:
    """Time policies, all shipped ones without `folders`. Returns the durations in ns by what was timed.

    Each policy has two entries: a call from `batch` observations to weights, and one decision from past returns as the
    daemon makes it (features, then weights).
    """
    places = [place_of(folder) for folder in folders] or [
        place for place in sorted(bundled.SHIPPED.iterdir()) if (place / "manifest.json").is_file()
    ]
    times: dict[str, list[int]] = {}
    for place in places:
        times |= _timed(place, batch, threads, named=bool(folders))
    return times


def _timed(place: Path, batch: int, threads: int, *, named: bool) -> dict[str, list[int]]:
    """Time an artifact: decisions from a batch of observations, and one decision with its features.

    The calls take 16 random markets in turn.

    An artifact that is no single policy raises Failure if the user named it (`named`), else gives nothing.
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
        return {}
    return {f"{place.name} x {batch}": durations_ns(decide), f"{place.name} with features": durations_ns(answer)}


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


def durations_ns(call: Callable[[int], object]) -> list[int]:
    """Return the durations of 2,000 calls, or of as many as fit into 3 s, in ns."""
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
    return durations

"""The profiles Full, Lite and Transformer compared.

    python -m benchmarks.multi_agent [--rounds 1] [--artifacts FOLDER] [--out FOLDER] [--features]

Each profile trains `rounds` times as many episodes as it has desks, in a fresh process on one thread, at its own
settings. The table has seconds per episode (252 sessions of one desk, acting and learning), memory and updates.
Sharpe ratios are read from the artifacts FOLDER/full, FOLDER/lite and FOLDER/transformer, where they exist. The last
table is inference of the transformer (4 layers, 8 heads, width 128, 60 sessions), in ONNX Runtime and in torch.
`--out` writes the table into FOLDER as profiles.csv, profiles.md and profiles.html, a page of bars. `--features` ranks
the candidate features of Lite.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES
from quantd.models.observation.table import sight
from quantd.trading.market import Floats

NAMES: Final = ("full", "lite", "transformer")

CLAIMED_TIME, CLAIMED_MEMORY, CLAIMED_SHARPE, CLAIMED_WIDE = 0.35, 0.35, 0.80, 1.15
"""Published ratios of Lite to Full (time, memory, Sharpe ratio), and of Transformer to Full (time)."""

CLAIMED_EFFICIENCY: Final = {"full": 0.0372, "lite": 0.0848, "transformer": 0.0330}
"""Published Sharpe ratios over the seconds of an episode."""

MIB: Final = 2**20

COLUMNS: Final[Mapping[str, str]] = {
    "seconds": "Seconds an episode", "peak": "Peak memory, MiB", "mean": "Mean memory, MiB",
    "sharpe": "Sharpe ratio out of sample", "efficiency": "Sharpe ratio by seconds",
}  # fmt: skip
"""Of the files."""


UNDONE: Final = ("ESG scores", "sentiment")
"""Inputs that the profile `full` lacks, because no such data is bundled."""

TOP: Final = 5

AHEAD: Final = 5
"""Sessions of the returns that a feature predicts."""

FEWEST: Final = 3
"""Minimum number of assets with a feature for a session to count."""


class Rank(NamedTuple):
    """Prediction of following returns by one feature."""

    feature: str
    correlation: float
    """Mean over sessions of the rank correlation, across assets, with the returns of the next AHEAD sessions."""
    t: float
    """That mean over its standard error; AHEAD sessions that overlap count as one."""


def ranked(panel: Panel, rows: range) -> list[Rank]:
    """Return features by |t|, the highest first, with outcomes in `rows` only.

    Sources: C. Spearman 1904; the information coefficient of R. Grinold and R. Kahn.
    """
    seen, returns = sight(panel), panel.returns()
    correlations = np.full((len(rows), len(FEATURES)), np.nan)
    for k, row in enumerate(rows[:-AHEAD]):
        following = returns[row + 1 : row + 1 + AHEAD].sum(axis=0)
        valid = (seen.mask[row] > 0.0) & np.isfinite(following)
        if valid.sum() >= FEWEST:
            outcome_ranks = _ranks(following[valid, None])
            correlations[k] = (_ranks(seen.features[row][valid].astype(np.float64)) * outcome_ranks).mean(axis=0)
    correlations = correlations[np.isfinite(correlations).all(axis=1)]
    mean = correlations.mean(axis=0)
    t = mean / (correlations.std(axis=0, ddof=1) / (len(correlations) / AHEAD) ** 0.5)
    ranks = [Rank(name, float(m), float(score)) for name, m, score in zip(FEATURES, mean, t, strict=True)]
    return sorted(ranks, key=lambda rank: -abs(rank.t))


def chosen(ranks: Sequence[Rank]) -> tuple[str, ...]:
    """Return the first TOP, in the order of FEATURES, without those that order the assets as an earlier one does."""
    kept: list[Rank] = []
    for rank in ranks:
        if len(kept) < TOP and not any(np.isclose(rank.t, other.t, rtol=1e-9) for other in kept):
            kept.append(rank)
    return tuple(name for name in FEATURES if name in {rank.feature for rank in kept})


def _ranks(values: Floats) -> Floats:
    """float64[N, F] ranks of each column, of mean 0 and deviation 1; equal values in their order."""
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(np.float64)
    ranks -= ranks.mean(axis=0)
    return ranks / ranks.std(axis=0)


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Measure one profile, in this process."""
    import torch

    from quantd.training.learners.algorithms.deterministic_agents import Maddpg
    from quantd.training.plans.plan import default
    from quantd.training.seeds.environment import Ground
    from quantd.training.seeds.learner import learner_of
    from quantd.training.seeds.markets import markets_of

    torch.set_num_threads(1)
    imported = _peak()
    plan = default("maddpg", name)
    markets = markets_of(plan)
    ground = Ground(plan, markets.train, 1)
    learner = learner_of(plan.learner, ground, 1)
    assert isinstance(learner, Maddpg)
    round_steps = plan.market.episodes.length * plan.market.batch
    learner.learn(ground, max(learner.plan.warmup, round_steps), lambda _: False)
    updates, before = learner.updates, learner.steps
    resident: list[float] = []

    def ends(_: int) -> bool:
        resident.append(_resident())
        return False

    began = perf_counter()
    learner.learn(ground, before + rounds * round_steps, ends)
    seconds = perf_counter() - began
    replay = learner._replay
    assert replay is not None
    # a long run fills its whole replay memory, this one only a part
    unfilled = replay._rows.numel() * 4 * (1.0 - len(replay) / (replay.length * replay.desks))
    episodes = (learner.steps - before) / plan.market.episodes.length / learner.plan.agents
    return {
        "seconds": seconds / episodes,
        "updates": (learner.updates - updates) / episodes,
        "peak": (_peak() + unfilled) / MIB,
        "mean": float(np.mean(resident)) / MIB,
        "imported": imported / MIB,
        "parameters": sum(vector.numel() for vector in learner.vectors()),
        "agents": learner.plan.agents,
        "assets": len(markets.symbols),
        "shown": ground.observation_size,
        "episodes": plan.steps // plan.market.episodes.length // learner.plan.agents,
    }


def _peak() -> float:
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _resident() -> float:
    """Return the memory of this process now, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * float(resource.getpagesize())


def judged(folder: Path, name: str) -> tuple[float, float, int] | None:
    """Return (mean over the seeds of the Sharpe ratio on the test part after costs, equal weight's, seeds that have
    one) of an artifact; None without an artifact.
    """
    where = folder / name
    if not (where / "manifest.json").exists():
        return None
    from quantd.models.artifacts.agent_policy import load

    manifest = load(where).manifest
    result = manifest.results["test"]
    sharpes = [sharpe for sharpe in result.sharpe_by_seed if sharpe is not None]
    return float(np.mean(sharpes)), result.equal_weight.sharpe, len(sharpes)


def inference(seconds: float = 3.0, assets: int = 5, widening: int = 4) -> dict[str, tuple[float, float]]:
    """Return side -> (p50, p99) in milliseconds of one answer; sides alternate.

    Raises AssertionError where they differ.
    """
    import onnxruntime
    import torch

    from quantd.training.learners.distributions import family
    from quantd.training.networks.onnx_nodes import Graph
    from quantd.training.networks.sizes import Layout, Sizes
    from quantd.training.networks.transformer import Transformer

    torch.set_num_threads(1)
    random, actions = torch.Generator().manual_seed(1), family("simplex", assets + 1)
    layout = Layout(assets, 10, 60)
    size = layout.market + assets + 1
    sizes = Sizes(width=128, heads=8, layers=4, widening=widening)
    network = Transformer(size, actions.outputs, actions.spread, random, layout=layout, sizes=sizes)
    network.vector.add_(torch.randn(network.vector.shape, generator=random) * 0.02)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = Graph()
    graph.readout(network.write(graph, "observation"), actions.readout)
    model = graph.model("transformer", {"observation": size}, {"weights": assets + 1})
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    seen = torch.randn((1, size), generator=random)
    given, carry = {"observation": seen.numpy()}, network.begin(1)

    def eager() -> Any:
        return actions.mode(network.act(seen, carry)[0]).numpy()

    def runtime() -> Any:
        return session.run(["weights"], given)[0]

    assert float(np.abs(eager() - runtime()).max()) < 1e-5
    return _turns({"ONNX Runtime": runtime, "torch eager": eager}, seconds)


def _turns(sides: dict[str, Callable[[], Any]], seconds: float) -> dict[str, tuple[float, float]]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    until = perf_counter() + seconds
    while perf_counter() < until:
        for name, side in sides.items():
            side()
            for _ in range(20):
                began = perf_counter()
                side()
                times[name].append((perf_counter() - began) * 1e3)
    return {
        name: (float(np.median(durations)), float(np.percentile(durations, 99))) for name, durations in times.items()
    }


def features() -> None:
    """Print the ranking behind Lite's choice of features."""
    from quantd.training.learners.maddpg import LITE_FEATURES
    from quantd.training.plans.plan import default
    from quantd.training.seeds.markets import markets_of

    plan = default("maddpg", "full")
    train, markets = plan.splits.train, markets_of(plan)
    print(f"rank correlation with the returns of the next {AHEAD} sessions, {train.first} to {train.last}")
    for place, rank in enumerate(ranked(markets.panel, range(markets.train.first, markets.train.last + 1)), 1):
        kept = "  lite" if rank.feature in LITE_FEATURES else ""
        print(f"{place:>2}  {rank.feature:<20}{rank.correlation:>8.4f}  t {rank.t:>6.2f}{kept}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--artifacts", type=Path, default=Path("models/shipped"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not all(find_spec(name) for name in ("torch", "onnxruntime", "plotly")):
        print("profiles: needs torch, onnxruntime and plotly (the extra `train`); left out")
        return
    if options.one:
        print(json.dumps(measured(options.one, options.rounds)))
        return
    if options.features:
        features()
        return
    profiles = {}
    for name in NAMES:
        command = [sys.executable, "-m", "benchmarks.multi_agent", "--one", name, "--rounds", str(options.rounds)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        profiles[name] = json.loads(process.stdout)
    sharpes = {name: judged(options.artifacts, name) for name in NAMES}
    _tables(profiles, sharpes, options.artifacts)
    if options.out:
        print(", ".join(map(str, written(options.out, profiles, sharpes))))


def written(
    folder: Path,
    profiles: Mapping[str, Mapping[str, float]],
    sharpes: Mapping[str, tuple[float, float, int] | None],
) -> list[Path]:
    """Write the table of the profiles as CSV, Markdown and a page of bars; return the files.

    A profile without an artifact has empty fields for its Sharpe ratio. Raises OSError.
    """
    from plotly.subplots import make_subplots

    scored = {name: score for name, score in sharpes.items() if score is not None}
    quotients = efficiencies(profiles, scored)
    rows = {
        name: [
            *(row[key] for key in ("seconds", "peak", "mean")),
            scored[name][0] if name in scored else None,
            quotients.get(name),
        ]
        for name, row in profiles.items()
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"profiles.{end}" for end in ("csv", "md", "html")]
    with files[0].open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["profile", *COLUMNS], *([n, *r] for n, r in rows.items())])
    cells = [["Profile", *COLUMNS.values()], ["---", *["---:"] * len(COLUMNS)]]
    cells += [[name, *("" if value is None else f"{value:.4g}" for value in row)] for name, row in rows.items()]
    files[1].write_text("".join(f"| {' | '.join(row)} |\n" for row in cells), encoding="utf-8")
    page = make_subplots(rows=1, cols=len(COLUMNS), subplot_titles=list(COLUMNS.values()))
    for place, title in enumerate(COLUMNS.values()):
        bars = {"type": "bar", "x": list(rows), "y": [row[place] for row in rows.values()], "name": title}
        page.add_trace(bars, row=1, col=place + 1)
    page.update_layout(showlegend=False)
    page.write_html(files[2])
    return files


def efficiencies(
    profiles: Mapping[str, Mapping[str, Any]], sharpes: Mapping[str, tuple[float, float, int]]
) -> dict[str, float]:
    """Return the Sharpe ratio out of sample over the seconds of an episode, for each profile with an artifact."""
    return {name: sharpes[name][0] / profiles[name]["seconds"] for name in profiles if name in sharpes}


def _tables(
    profiles: dict[str, dict[str, Any]], sharpes: dict[str, tuple[float, float, int] | None], folder: Path
) -> None:

    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = ": BUSY" if load > 0.5 * cores else ""
    print(
        f"one thread, {cores} cores, load {load:.1f}{busy}; {profiles['full']['assets']} assets, episodes "
        "of 252 sessions"
    )
    print(
        f"{'':<13}{'s an episode':>13}{'updates':>9}{'peak MiB':>10}{'mean':>7}{'learned':>12}{'shown':>7}"
        f"{'agents':>8}{'episodes':>10}{'minutes':>9}"
    )
    for name, row in profiles.items():
        minutes = row["seconds"] * row["episodes"] / 60.0
        print(
            f"{name:<13}{row['seconds']:>13.3f}{row['updates']:>9.1f}{row['peak']:>10.0f}{row['mean']:>7.0f}"
            f"{row['parameters']:>12,}"
            f"{row['shown']:>7}{row['agents']:>8}{row['episodes']:>10}{minutes:>9.1f}"
        )
    full, lite, wide = (profiles[name] for name in NAMES)
    base = full["imported"]
    print(f"of the memory, {base:.0f} MiB are Python and torch; undone in full: {', '.join(UNDONE)}")
    rows = [
        ("Lite / Full, time an episode", lite["seconds"] / full["seconds"], CLAIMED_TIME),
        ("Lite / Full, peak memory", lite["peak"] / full["peak"], CLAIMED_MEMORY),
        ("  without Python and torch", (lite["peak"] - base) / (full["peak"] - base), CLAIMED_MEMORY),
        ("Transformer / Full, time an episode", wide["seconds"] / full["seconds"], CLAIMED_WIDE),
    ]
    print(f"{'':<38}{'measured':>10}{'claimed':>10}")
    for label, ratio, claim in rows:
        print(f"{label:<38}{ratio:>10.2f}{claim:>10.2f}")
    scored = {name: score for name, score in sharpes.items() if score is not None}
    for name, (sharpe, equal, seeds) in scored.items():
        print(f"mean Sharpe ratio out of sample, {name:<12}{sharpe:>8.2f}, equal weight {equal:.2f} ({seeds} seeds)")
    for name, ratio in efficiencies(profiles, scored).items():
        print(f"{name + ', Sharpe ratio / seconds an episode':<38}{ratio:>10.4f}{CLAIMED_EFFICIENCY[name]:>10.4f}")
    if "full" in scored and "lite" in scored:
        print(
            f"{'Lite / Full, Sharpe out of sample':<38}{scored['lite'][0] / scored['full'][0]:>10.2f}"
            f"{CLAIMED_SHARPE:>10.2f}"
        )
    if missing := [name for name in NAMES if name not in scored]:
        print(f"no artifact of {', '.join(missing)} in {folder}: no Sharpe ratio of it")
    for widening in (2, 4):
        latencies = inference(widening=widening)
        ratio = latencies["torch eager"][0] / latencies["ONNX Runtime"][0]
        told_ = ", ".join(f"{side} p50 {p50:.2f} p99 {p99:.2f} ms" for side, (p50, p99) in latencies.items())
        print(f"4 x 8 x 128 over 60 sessions, inner layer x{widening}: {told_}: {ratio:.1f}x")


if __name__ == "__main__":
    main()

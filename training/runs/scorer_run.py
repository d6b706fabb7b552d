"""Trains the asset-equivariant scorer through the simulator and writes it as an artifact with its card.

    python -m quantd.training --out models/shipped/scorer

The gradient of a mean-variance utility of the account's returns relative to equal weight, both after costs, is taken
through the simulated account itself (an analytic policy gradient: the market does not react, so the simulator is
differentiable).

What can go wrong. A utility of absolute returns would reward exposure to a rising market: so the utility is relative to
equal weight. A policy would depend on one asset: so each episode has a random subset of the universe. The best
iteration or seed would be chosen by the test results: so the validation part chooses both, and the test part is
evaluated after that.

Rejected: the same utility of absolute returns, which only changed the share of cash, without gain on validation.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from quantd.bundled import find
from quantd.models.artifacts.card import scorer_card
from quantd.models.artifacts.folder import numbers, write
from quantd.models.artifacts.manifest import Golden, Network, Result, ScorerManifest, Training, Window
from quantd.models.artifacts.processor import processor
from quantd.models.artifacts.runtime import TOLERANCE
from quantd.models.artifacts.scorer_policy import load_policy
from quantd.models.artifacts.weights import MEAN
from quantd.models.artifacts.window_figures import WindowFigures, window_figures
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import file_digest, read_panel
from quantd.models.history.splits import USUAL_SPLITS, Split, Splits
from quantd.models.observation.return_features import LOOKBACK, FeatureSpec, measure, spec_hash
from quantd.models.observation.table import Sight, sight
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, usual_lot_nano
from quantd.training.market.paths import episodes, simulate
from quantd.training.networks.scorer import Scorer, to_onnx
from quantd.training.plans.plan import MarketPlan
from quantd.training.power.power_line import market_line

Progress = Callable[[str], None]


class Plan(Struct, frozen=True):
    """Everything that determines a training of the scorer, except the data."""

    splits: Splits = USUAL_SPLITS
    warmup_from: date = date(1998, 1, 2)
    """First day of the bars that are read. Bars before the training part only fill the features' lookback."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    iterations: int = 120
    check_every: int = 10
    batch: int = 32
    episode: int = 126
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    hidden: int = 16
    risk_aversion: float = 20.0
    """Weight of the variance of returns relative to equal weight."""
    keep: float = 0.7
    """Probability that an asset is in an episode's universe, so that no policy depends on one asset."""
    test_looks: int = 1
    """How often test results of this policy or an earlier form were seen, this time included."""
    costs: Costs = Costs(commission_bp=10.0)
    cash: float = 100_000.0


class Trained(Struct, frozen=True):
    """The scorer network of one seed at its best iteration, by its `utility` on the validation part."""

    seed: int
    scorer: Scorer
    utility: float
    iteration: int


def utility(equity: Tensor, benchmark: Tensor, risk_aversion: float) -> Tensor:
    """Return the annual mean-variance utility of log returns relative to a benchmark, from equities float[B, L + 1].

    The utility is the mean less `risk_aversion` / 2 times the variance (Markowitz 1952, for active returns Roll 1992).
    Long exposure to a rising market thus earns nothing, and a deviation from equal weight must pay for its risk. The
    same utility of absolute returns only changed the cash fraction, without gain on validation. Axes: B episodes, L
    sessions.
    """
    active = torch.log(equity[:, 1:] / equity[:, :-1]) - torch.log(benchmark[:, 1:] / benchmark[:, :-1])
    return (active.mean() - 0.5 * risk_aversion * active.var(dim=1).mean()) * 252


def fit(panel: Panel, seen: Sight, plan: Plan, seed: int, progress: Progress) -> Trained:
    """Train one seed on `plan.splits.train`; the validation part selects the iteration.

    `seen` is the panel's sight, the input of the network. The loss is the negative utility of random episodes, each
    with a random subset of the assets. Raises ValueError for a training part shorter than an episode.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    scorer = Scorer(seen.features.shape[-1], plan.hidden)
    optimiser = torch.optim.AdamW(scorer.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    rows = plan.splits.train.rows(panel.day_ns)
    first, last = max(rows.start, LOOKBACK), rows.stop - plan.episode - 1
    if last <= first:
        raise ValueError(
            f"the training part has {len(rows)} sessions, too few for an episode of {plan.episode}; lengthen the part"
        )
    best = Trained(seed, scorer, float("-inf"), 0)
    state = {}
    for iteration in range(1, plan.iterations + 1):
        starts = draw.integers(first, last, size=plan.batch, endpoint=True)
        episode_rows = starts[:, None] + np.arange(plan.episode)
        asset_subset = _subsets(draw, plan, seen.mask[starts])
        mask = torch.from_numpy(seen.mask[episode_rows] * asset_subset[:, None, :])
        weights = scorer(torch.from_numpy(seen.features[episode_rows]), mask)
        prices = episodes(panel, starts, plan.episode, torch.float32)
        equal_weights = mask / mask.sum(-1, keepdim=True).clamp(min=1.0)
        policy_equity, benchmark = (simulate(prices, w, plan.costs).equity for w in (weights, equal_weights))
        loss = -utility(policy_equity, benchmark, plan.risk_aversion)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
        optimiser.step()
        if iteration % plan.check_every == 0 or iteration == plan.iterations:
            policy_equity, benchmark = (
                _simulated(panel, seen, plan, s, plan.splits.validation)[0] for s in (scorer, None)
            )
            validation_utility = float(utility(policy_equity, benchmark, plan.risk_aversion))
            progress(
                f"seed {seed}: iteration {iteration} of {plan.iterations}, validation utility {validation_utility:+.4f}"
            )
            if validation_utility > best.utility:
                best = Trained(seed, scorer, validation_utility, iteration)
                state = {k: v.detach().clone() for k, v in scorer.state_dict().items()}
    scorer.load_state_dict(state)
    return best


def _subsets(draw: np.random.Generator, plan: Plan, mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32[B, N]: 1 for the assets in the universe of an episode, else 0.

    B is the number of episodes, N of assets. An episode whose drawn universe has no known asset gets all assets.
    """
    chosen = (draw.random(mask.shape) < plan.keep).astype(np.float32)
    chosen[(chosen * mask).sum(axis=1) == 0] = 1.0
    return chosen


def _simulated(panel: Panel, seen: Sight, plan: Plan, scorer: Scorer | None, split: Split) -> tuple[Tensor, Tensor]:
    """Trade a scorer over one part in whole lots; `scorer` None is equal weight.

    Returns (equity float64[1, L + 1], turnover float64[1, L]) of its L decisions.
    """
    rows = split.rows(panel.day_ns)
    decisions = slice(rows.start, rows.stop - 1)
    if scorer is None:
        priced = np.isfinite(panel.close[decisions])
        weights = torch.from_numpy(priced / np.maximum(1, priced.sum(axis=1, keepdims=True)))
    else:
        with torch.no_grad():
            scored = scorer(torch.from_numpy(seen.features[decisions]), torch.from_numpy(seen.mask[decisions]))
        weights = scored.to(torch.float64)
    # one episode: the whole part
    prices = episodes(panel, np.array([rows.start]), len(rows) - 1)
    lots = torch.tensor([usual_lot_nano(symbol) / NANO for symbol in panel.symbols], dtype=torch.float64)
    path = simulate(prices, weights[None], plan.costs, plan.cash, lot=lots)
    return path.equity, path.turnover


def judge(panel: Panel, seen: Sight, plan: Plan, trained: Sequence[Trained], chosen: Trained, split: Split) -> Result:
    """Return the results of the chosen seed beside equal weight on one part: same days, costs, capital and lots."""

    def figures_of(scorer: Scorer | None) -> tuple[WindowFigures, float]:
        equity, turnover = _simulated(panel, seen, plan, scorer, split)
        return window_figures(equity[0].numpy()), float(turnover.mean()) * 252

    policy, turnover_annual = figures_of(chosen.scorer)
    sharpes = [figures_of(t.scorer)[0].sharpe for t in trained]
    # s != s: NaN, which JSON lacks
    return Result(policy, figures_of(None)[0], turnover_annual, tuple(None if s != s else s for s in sharpes))


def train(
    bars: Path, actions: Path | None, symbols: Sequence[str], plan: Plan, out: Path, command: str, progress: Progress
) -> ScorerManifest:
    """Train every seed, choose by validation, evaluate once on the test part, and write the artifact to `out`.

    Nothing after the test part is read. Raises ValueError for data that do not fit the plan.
    """
    torch.set_num_threads(1)
    splits = plan.splits
    panel = read_panel(bars, actions, symbols, plan.warmup_from, splits.test.last)
    seen = sight(panel)
    trained = [fit(panel, seen, plan, seed, progress) for seed in plan.seeds]
    chosen = max(trained, key=lambda t: t.utility)
    parts = (splits.train, splits.validation, splits.test)
    # a probe of plain random returns, so that it holds no bought data; one column is unknown
    probe = np.random.default_rng(0).normal(0.0004, 0.012, (LOOKBACK, 8))
    probe[:40, 5] = np.nan
    features, mask = measure(probe)
    with torch.no_grad():
        golden = chosen.scorer(torch.from_numpy(features), torch.from_numpy(mask)).numpy().astype(np.float64)
    spec = FeatureSpec()
    manifest = ScorerManifest(
        name=out.name,
        algorithm="analytic policy gradient through the simulator",
        network=Network("scorer", plan.hidden, equivariant=True),
        features=spec,
        features_hash=spec_hash(spec),
        universe=panel.symbols,
        training=Training(
            command=command,
            data={p.name: file_digest(p) for p in (bars, actions) if p is not None},
            windows={s.name: Window(str(s.first), str(s.last)) for s in parts},
            until_ns=splits.validation.end_ns,  # the validation part chooses iteration and seed
            seeds=plan.seeds,
            chosen_seed=chosen.seed,
            chosen_iteration=chosen.iteration,
            test_looks=plan.test_looks,
            processor=processor().text,
        ),
        results={s.name: judge(panel, seen, plan, trained, chosen, s) for s in parts},
        golden=Golden(LOOKBACK, probe.shape[1], TOLERANCE),
        power=market_line(panel, splits, MarketPlan(costs=plan.costs, capital=plan.cash)),
    )
    contents = {
        "card.md": scorer_card(manifest, plan.costs, plan.cash).encode(),
        "golden.bin": numbers(probe, golden),
        "policy.onnx": to_onnx(chosen.scorer),
        "weights.safetensors": save({**chosen.scorer.state_dict(), MEAN: feature_means(panel, seen, splits.train)}),
    }
    written = write(out, manifest, contents)
    load_policy(out, {})  # what was just written must pass every check that trading makes
    return written


def feature_means(panel: Panel, seen: Sight, part: Split) -> torch.Tensor:
    """Return float64[F], the mean of each feature over the sessions of a part and the assets known there."""
    rows = part.rows(panel.day_ns)
    mask = seen.mask[rows.start : rows.stop] > 0.0
    return torch.from_numpy(seen.features[rows.start : rows.stop][mask].astype(np.float64).mean(axis=0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of `python -m quantd.training`."""
    parser = argparse.ArgumentParser(prog="python -m quantd.training", description="Train the scorer policy.")
    default: Final = Plan()
    parser.add_argument("--out", type=Path, required=True, help="folder of the artifact to write")
    parser.add_argument("--bars", type=Path, default=Path("data/us_daily.parquet"), help="daily raw bars")
    parser.add_argument("--actions", default="data/us_actions.csv", help='splits, dividends; "" for none')
    parser.add_argument("--symbols", nargs="+", default=["AAPL", "BAC", "IWM", "QQQ", "SPY"])
    parser.add_argument("--seeds", type=int, default=len(default.seeds), help="how many seeds (5)")
    parser.add_argument("--iterations", type=int, default=default.iterations, help="gradient steps a seed")
    parser.add_argument("--test-looks", type=int, default=1, help="how often test figures were seen, now included (1)")
    options = parser.parse_args(arguments)
    plan = Plan(
        seeds=tuple(range(1, options.seeds + 1)), iterations=options.iterations, test_looks=max(1, options.test_looks)
    )
    command = " ".join(["python -m quantd.training", *(sys.argv[1:] if arguments is None else arguments)])

    def progress(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        actions = find(options.actions) if options.actions else None
        train(find(options.bars), actions, options.symbols, plan, options.out, command, progress)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"quantd train: {error}\n")
        return 1
    sys.stdout.write((options.out / "card.md").read_text())
    return 0

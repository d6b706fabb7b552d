"""Profiles of several agents: sizes are those that were asked for, Lite really sees less, and what is trained is what
trades."""

from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from quantd.models.artifacts.agent_policy import load_agent
from quantd.models.observation.return_features import FEATURES
from quantd.training.learners.algorithms.deterministic_agents import Maddpg
from quantd.training.learners.maddpg import LITE_FEATURES, PROFILES, MaddpgPlan
from quantd.training.market.desks import Desks
from quantd.training.market.episodes import Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.terms import Diversity, Seat
from quantd.training.networks.sizes import Layout
from quantd.training.networks.transformer import Encoder
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import Plan, default, replaced
from quantd.training.runs.training_run import seats_of, train
from quantd.training.seeds.environment import Ground
from quantd.training.seeds.learner import learner_of, policy_of
from quantd.training.seeds.markets import Markets, markets_of
from tests.support.panels import market, panel_of

SPLITS = {
    "splits.train": {"name": "train", "first": "1998-07-06", "last": "2001-06-29"},
    "splits.validation": {"name": "validation", "first": "2001-07-02", "last": "2002-06-28"},
    "splits.test": {"name": "test", "first": "2002-07-01", "last": "2003-06-30"},
    "data.symbols": ["AAPL", "BAC", "SPY"],
}
SHORT = {
    **SPLITS,
    "steps": 1600,
    "seeds": [1],
    "evaluate_every": 1600,
    "checkpoint_every": 800,
    "learner.warmup": 160,
    "learner.buffer": 1000,
    "learner.noise_steps": 1000,
    "learner.batch": 8,
    "market.episodes.length": 20,
}


def plan_of(profile: str, **more: object) -> Plan:
    small = {"learner.transformer": {"width": 8, "heads": 2, "layers": 2, "widening": 1}} if profile != "lite" else {}
    agents = len(PROFILES[profile]["market"]["seats"])
    return replaced(
        default("maddpg", profile), {**SHORT, "market.batch": 2 * agents, "learner.train_every": 200, **small, **more}
    )


def learner_with(plan: Plan, markets: Markets) -> tuple[Maddpg, Ground]:
    ground = Ground(plan, markets.train, 1)
    learner = learner_of(plan.learner, ground, 1)
    assert isinstance(learner, Maddpg)
    return learner, ground


@pytest.mark.requirement("R-074", "R-075", "R-076", "R-262")
def test_profiles_are_what_was_asked_for() -> None:
    full, lite, wide = (default("maddpg", name) for name in ("full", "lite", "transformer"))
    for plan, width in ((full, 64), (wide, 256)):
        learner = plan.learner
        assert (learner.network, learner.agents) == ("transformer", 5)  # type: ignore[union-attr]
        sizes_ = learner.transformer  # type: ignore[union-attr]
        assert (sizes_.layers, sizes_.heads, sizes_.width) == (4, 8, width)
        assert plan.sight.features == FEATURES
        assert plan.market.diversity.dynamic
    assert full.sight.window == 60
    assert full.steps == 300 * 252 * 5
    assert (lite.learner.network, lite.learner.hidden, lite.learner.batch) == ("mlp", (128, 64), 64)
    assert lite.steps == 200 * 252 * 4
    assert not lite.market.diversity.dynamic
    for plan in (full, lite, wide):
        learner = plan.learner
        assert (learner.actor_rate, learner.critic_rate, learner.tau) == (1e-4, 1e-3, 0.01)  # type: ignore[union-attr]
        assert (learner.noise, learner.least_noise) == (0.2, 0.05)  # type: ignore[union-attr]
    with pytest.raises(PlanError, match="maddpg has full, lite, transformer"):
        default("maddpg", "light")


def learned(profile: str) -> int:
    """Parameters of a profile at its own sizes, critics included."""
    plan = default("maddpg", profile)
    assets = len(plan.data.symbols)
    learner = Maddpg(plan.learner, plan.sight.size(assets), assets + 1, "simplex", 0)  # type: ignore[arg-type]
    return sum(vector.numel() for vector in learner.vectors())


@pytest.mark.requirement("R-075")
@pytest.mark.long
def test_lite_really_sees_and_learns_less() -> None:
    markets = {name: markets_of(plan_of(name)) for name in ("full", "lite")}
    shown = {name: parts.train.observed.names for name, parts in markets.items()}
    assert len(shown["lite"]) == 3 * (5 + 1)
    assert len(shown["full"]) == 3 * (9 + 1 + 60)
    assert {name.partition(" ")[0] for name in shown["lite"]} == {*LITE_FEATURES, "known"}
    counts = {}
    for name, parts in markets.items():
        learner, ground = learner_with(plan_of(name), parts)
        assert ground.observation_size == len(shown[name])
        assert isinstance(learner.network.body, Encoder) == (name == "full")
        counts[name] = sum(vector.numel() for vector in learner.vectors())
    assert list(PROFILES) == ["full", "lite", "transformer"]
    assert learned("lite") < 0.35 * learned("full") < 0.1 * learned("transformer")


@pytest.mark.parametrize("groups", [False, True])
def test_the_house_holds_what_its_seats_hold_together(groups: bool) -> None:
    seats = (
        Seat("a", ("S0", "S1") if groups else (), 1e6, 0.4),
        Seat("b", ("S2",) if groups else (), 3e6, 0.9),
    )
    world = market(panel_of(4, 40, 3), dtype=torch.float64)
    desk = Desks(world, seats, diversity=Diversity(weight=0.0), episodes=Episodes(20, False))
    account = Simulator(world, batch=1, capital=4e6, episodes=Episodes(20, False))
    size = desk.observation_size
    learner = Maddpg(MaddpgPlan(agents=2, layout=Layout(1, size, 0)), size, 4, "simplex", 1)
    with torch.no_grad():
        learner.network.vector.add_(torch.randn(learner.network.vector.shape, generator=learner.random) * 0.3)
    market_plan = msgspec.structs.replace(default("maddpg", "lite").market, seats=seats)
    observations, held = desk.reset(), account.reset()
    desk.move(learner.act(observations))
    account.move(account.targets(policy_of(learner, None, market_plan, world.symbols)(held, True)))
    assert float(desk.simulator.equity.sum()) == pytest.approx(float(account.equity), rel=1e-6)
    assert not torch.allclose(desk.simulator.weights[0], desk.simulator.weights[1], atol=0.05)


@pytest.mark.long
@pytest.mark.parametrize("profile", ["lite", pytest.param("full", marks=pytest.mark.slow)])
def test_what_is_trained_is_an_artifact_of_seats_that_trades(profile: str, tmp_path: Path) -> None:
    plan = plan_of(profile)
    manifest = train(plan, tmp_path / "house", "quantd train", lambda _: False)
    assert manifest.algorithm == "maddpg"
    assert manifest.seats == seats_of(plan)
    assert [agent.share for agent in manifest.seats] == pytest.approx([1.0 / len(manifest.seats)] * len(manifest.seats))
    assert manifest.sight.features == (LITE_FEATURES if profile == "lite" else FEATURES)
    assert set(manifest.results) == {"train", "validation", "test"}
    # golden probes were asked of the graph when it was loaded
    assert load_agent(tmp_path / "house", {}).digest == manifest.digest


def test_plans_of_several_agents_that_cannot_be_are_refused() -> None:
    plan = default("maddpg", "lite")
    for change, reason in (
        ({"market.batch": 33}, "a multiple of"),
        ({"learner.agents": 3}, "market.seats"),
        ({"market.kind": "box"}, "simplex"),
        ({"sight.book": ["cash"]}, "sight.book"),
    ):
        with pytest.raises(PlanError, match=reason):
            replaced(plan, change)
    with pytest.raises(PlanError, match="is one agent"):
        replaced(default("ppo"), {"market.seats": [{"name": "a"}]})


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """An ESG score for each month and a sentiment for each weekday of three symbols, in files, as `data.series`."""
    folder = tmp_path_factory.mktemp("ratings")
    draw = np.random.default_rng(7)
    for name, step in (("esg", 30), ("sentiment", 1)):
        days = [date(1998, 6, 1) + timedelta(days=k) for k in range(0, 1900, step)]
        rows = [f"{day},{symbol},{draw.normal():.3f}" for day in days for symbol in ("AAPL", "BAC", "SPY")]
        (folder / f"{name}.csv").write_text("\n".join(["ts,symbol,value", *rows]) + "\n")
    return [
        {"name": "esg", "path": str(folder / "esg.csv")},
        {"name": "sentiment", "path": str(folder / "sentiment.csv"), "valid_days": 5},
    ]


RATED = ("series_esg", "series_esg.rank", "series_sentiment", "series_sentiment_change_5")


@pytest.mark.requirement("R-074")
def test_full_sees_scores_and_sentiment_from_files_beside_its_features(ratings: list[dict[str, object]]) -> None:
    plan = plan_of("full", **{"data.series": ratings, "sight.columns": RATED})
    assert plan.sight.size(3) - plan_of("full").sight.size(3) == 3 * len(RATED)
    observed = markets_of(plan).train.observed
    assert {f"{column} {symbol}" for column in RATED for symbol in ("AAPL", "BAC", "SPY")} < set(observed.names)
    # the rows of training show the scores as published: the ESG scores in ranks, one beside the others
    places = [observed.names.index(f"series_esg.rank {symbol}") for symbol in ("AAPL", "BAC", "SPY")]
    shown = observed.table[300:500, places]
    assert np.allclose(np.sort(shown, axis=1), [0.0, 0.5, 1.0])
    assert len({tuple(row) for row in shown.tolist()}) >= 3
    learner, _ = learner_with(plan, markets_of(plan))
    assert isinstance(learner.network.body, Encoder)
    off = [{**rating, "use": False, "path": "absent.csv"} for rating in ratings]
    assert plan_of("full", **{"data.series": off, "sight.columns": ["rsi_14", *RATED]}).sight.columns == ("rsi_14",)

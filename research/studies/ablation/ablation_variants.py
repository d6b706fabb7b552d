"""The variants of an ablation: a training plan without one group of features, or without one part of its learner.

Each variant has a name. A part that the plan does not have gives no plan, and the reason.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from quantd.models.observation.sight import SightSpec
from quantd.training.plans.plan import Plan, replaced

GROUPS: Final[Mapping[str, re.Pattern[str]]] = {
    "returns, short": re.compile(r"daily_return_|(momentum|roc)_([1-9]|1\d|2[01])(\D|$)"),
    "returns, long": re.compile(r"(momentum|roc)_(2[2-9]|[3-9]\d|\d{3,})(\D|$)|momentum_skip_"),
    "RSI": re.compile(r"rsi_|stochastic_rsi"),
    "MACD": re.compile(r"macd"),
    "Bollinger": re.compile(r"bollinger_"),
    "volatility": re.compile(r"volatility|ewma_volatility|natr_|parkinson_|garman_klass_|rogers_satchell_|yang_zhang_"),
    "ESG": re.compile(r"esg", re.IGNORECASE),
    "sentiment": re.compile(r"sentiment", re.IGNORECASE),
    "VIX": re.compile(r"vix", re.IGNORECASE),
    "yield": re.compile(r"yield", re.IGNORECASE),
}
"""The groups by the names of their features. Returns are two groups, so that each length has a row of its own."""

NO_DATA: Final = "no data"

SYNTHETIC: Final = "synthetic"
"""A series whose name has this word is generated; each row about it says so."""

LIMITS: Final = "limits"
"""The variant that is traded again without the gate's limits. It is not trained again."""

EVERY_AGENT: Final = "agents"
"""The name of the variants of agents in a plan of one agent."""

OF_AGENT: Final = "agent "
"""Prefix of the variant without one agent of the joint learner."""


@dataclass(frozen=True, slots=True)
class Part:
    """A variant: the plan without the part, or `missing`, why there is none. `left_out` names what is gone."""

    name: str
    plan: Plan | None = None
    left_out: tuple[str, ...] = ()
    missing: str = ""
    note: str = ""


def features_of(plan: Plan) -> tuple[str, ...]:
    """Return the names of the features of a plan's observation, without its known flag, window and book."""
    return (*plan.sight.features, *plan.sight.columns)


def names_of(plan: Plan) -> tuple[str, ...]:
    """Return the names of all variants of a plan, in the order of the table."""
    seats = [f"{OF_AGENT}{agent.name}" for agent in plan.market.seats]
    return (*GROUPS, *PARTS, *(seats or [EVERY_AGENT]), LIMITS)


def variant(plan: Plan, name: str) -> Part:
    """Return a variant by one of `names_of`, except LIMITS. Raises PlanError where nothing would remain."""
    if name in GROUPS:
        return _without_features(plan, name, GROUPS[name], NO_DATA)
    if name in PARTS:
        return PARTS[name](plan)
    return _agent(plan, name.removeprefix(OF_AGENT))


def _without_features(plan: Plan, name: str, names: re.Pattern[str], missing: str) -> Part:
    gone = tuple(feature for feature in features_of(plan) if names.search(feature))
    if not gone:
        return Part(name, missing=missing)
    changes: dict[str, Any] = {
        "sight.features": [feature for feature in plan.sight.features if feature not in gone],
        "sight.columns": [column for column in plan.sight.columns if column not in gone],
    }
    kept = tuple(column for column in plan.sight.columns if column not in gone)
    if plan.sight.benchmark and not (kept and "benchmark" in SightSpec(columns=kept).declared.needs):
        changes["sight.benchmark"] = ""
    generated = [feature for feature in gone if SYNTHETIC in feature]
    return Part(name, replaced(plan, changes), gone, note=SYNTHETIC if generated else "")


def _regime(plan: Plan) -> Part:
    return _without_features(plan, "regime", re.compile(r"^regime_"), "the plan has no regime: no feature regime_*")


def _memory(plan: Plan) -> Part:
    network, window = getattr(plan.learner, "network", "mlp"), plan.sight.window
    gone = [f"learner.network = {network}"] if network != "mlp" else []
    gone += [f"sight.window = {window}"] if window else []
    if not gone:
        return Part("memory", missing="the plan has no memory: its network is an mlp, and sight.window is 0")
    changes: dict[str, Any] = {"learner.network": "mlp"} if network != "mlp" else {}
    return Part("memory", replaced(plan, {**changes, "sight.window": 0}), tuple(gone))


def _critic(plan: Plan) -> Part:
    weight = getattr(plan.learner, "value_weight", None)
    if weight is None:
        return Part("critic", missing=f"the plan has no critic beside its policy: {plan.agent} learns from it alone")
    if weight == 0.0:
        return Part("critic", missing="the plan has no critic: learner.value_weight is 0")
    # with lambda 1 an advantage is a return less the critic's estimate, which is never trained
    changes = {"learner.value_weight": 0.0, "learner.gae_lambda": 1.0}
    return Part("critic", replaced(plan, changes), (f"learner.value_weight = {weight:g}",))


def _penalty(name: str, key: str, get: Callable[[Plan], float]) -> Callable[[Plan], Part]:
    def made(plan: Plan) -> Part:
        if not (weight := get(plan)):
            return Part(name, missing=f"the plan has no {name}")
        return Part(name, replaced(plan, {key: 0.0}), (f"{key} = {weight:g}",))

    return made


def _term(term: str) -> Callable[[Plan], float]:
    def weight(plan: Plan) -> float:
        reward = plan.market.reward
        return min(0.0, float(getattr(reward.composite, term))) if reward.kind == "composite" else 0.0

    return weight


def _diversity(plan: Plan) -> Part:
    diversity = plan.market.diversity
    heaviest = diversity.high if diversity.dynamic else diversity.weight
    if not plan.market.seats or not heaviest:
        return Part("diversity penalty", missing="the plan has no diversity penalty")
    changes = {"market.diversity.dynamic": False, "market.diversity.weight": 0.0}
    return Part("diversity penalty", replaced(plan, changes), (f"market.diversity up to {heaviest:g}",))


def _own_drawdowns(plan: Plan) -> Part:
    name = "agents' drawdown penalty"
    gone = tuple(f"{agent.name} {agent.drawdown_penalty:g}" for agent in plan.market.seats if agent.drawdown_penalty)
    if not gone:
        return Part(name, missing=f"the plan has no {name}")
    seats = [msgspec.structs.replace(agent, drawdown_penalty=0.0) for agent in plan.market.seats]
    return Part(name, replaced(plan, {"market.seats": msgspec.to_builtins(seats)}), gone)


PARTS: Final[Mapping[str, Callable[[Plan], Part]]] = {
    "regime": _regime,
    "memory": _memory,
    "critic": _critic,
    "drawdown penalty": _penalty(
        "drawdown penalty", "market.reward.drawdown_penalty", lambda plan: plan.market.reward.drawdown_penalty
    ),
    "turnover penalty": _penalty(
        "turnover penalty", "market.reward.turnover_penalty", lambda plan: plan.market.reward.turnover_penalty
    ),
    **{
        f"{term} penalty": _penalty(f"{term} penalty", f"market.reward.composite.{term}", _term(term))
        for term in ("risk", "cost", "stability")
    },
    "diversity penalty": _diversity,
    "agents' drawdown penalty": _own_drawdowns,
}
"""The parts of a learner: name -> the plan without it."""


def _agent(plan: Plan, name: str) -> Part:
    """Return the plan without one agent. Each desk sees as many sessions, and learns as often, as before."""
    seats = plan.market.seats
    if not seats:
        return Part(EVERY_AGENT, missing=f"the plan has no agents: {plan.agent} is one")
    if len(seats) < 3:
        return Part(f"{OF_AGENT}{name}", missing="the plan has no agent to spare: without one of two, none is joint")
    kept = [agent for agent in seats if agent.name != name]
    agents, less = len(seats), len(kept)
    learner = plan.learner
    keys = [key for key in ("train_every", "warmup", "noise_steps", "buffer") if hasattr(learner, key)]
    counts = {f"learner.{key}": int(getattr(learner, key)) for key in keys}
    counts |= {key: int(getattr(plan, key)) for key in ("steps", "evaluate_every", "checkpoint_every")}
    changes: dict[str, Any] = {key: max(1, count * less // agents) for key, count in counts.items()}
    changes |= {
        "learner.agents": less,
        "market.batch": plan.market.batch // agents * less,
        "market.seats": msgspec.to_builtins(kept),
    }
    return Part(f"{OF_AGENT}{name}", replaced(plan, changes), (name,))

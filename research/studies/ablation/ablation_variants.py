"""The variants of an ablation: a training plan without one group of features, or without one part of its learner.

Each variant has a name. Where the plan does not have the part, the variant has a reason (`missing`) in place of a plan.
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
"""Group -> pattern of the names of its features. Short and long returns are two groups, each with a row in the
table."""

NO_DATA: Final = "no data"
"""Why a variant has no figures: the plan has no feature of its group."""

SYNTHETIC: Final = "synthetic"
"""A series whose name has this word is generated; each row about it says so."""

WITH_MEMORY: Final = ("lstm", "transformer")
"""Values of `learner.network` whose network reads earlier samples."""

LIMITS: Final = "limits"
"""The variant that is traded again without the gate's limits. It is not trained again."""

EVERY_AGENT: Final = "agents"
"""The name of the only agent variant of a plan without a joint learner; it has no figures."""

OF_AGENT: Final = "agent "
"""Prefix of the name of the variant without one agent of the joint learner."""


@dataclass(frozen=True, slots=True)
class Part:
    """A variant of a plan without one part. `left_out` names the features, keys or agents that `plan` lacks.

    Where the full plan does not have the part, `plan` is None and `missing` is the reason. `note` is a remark for the
    variant's row of the table.
    """

    name: str
    plan: Plan | None = None
    left_out: tuple[str, ...] = ()
    missing: str = ""
    note: str = ""


def features_of(plan: Plan) -> tuple[str, ...]:
    """Return the names of the market features that a plan's policy observes.

    Left out are the flag of known prices, the past returns (`window`) and the account's weights and cash (`book`).
    """
    return (*plan.sight.features, *plan.sight.columns)


def names_of(plan: Plan) -> tuple[str, ...]:
    """Return the names of all variants of a plan, in the order of the table."""
    agent_names = [f"{OF_AGENT}{agent.name}" for agent in plan.market.seats]
    return (*GROUPS, *PARTS, *(agent_names or [EVERY_AGENT]), LIMITS)


def variant(plan: Plan, name: str) -> Part:
    """Return the variant with this name, one of `names_of` other than LIMITS.

    Raises PlanError where no feature would remain.
    """
    if name in GROUPS:
        return _without_features(plan, name, GROUPS[name], NO_DATA)
    if name in PARTS:
        return PARTS[name](plan)
    return _without_agent(plan, name.removeprefix(OF_AGENT))


def _without_features(plan: Plan, name: str, pattern: re.Pattern[str], missing: str) -> Part:
    """Return the variant without the features whose names match; `missing` is the reason where none match."""
    removed = tuple(feature for feature in features_of(plan) if pattern.search(feature))
    if not removed:
        return Part(name, missing=missing)
    changes: dict[str, Any] = {
        "sight.features": [feature for feature in plan.sight.features if feature not in removed],
        "sight.columns": [column for column in plan.sight.columns if column not in removed],
    }
    remaining = tuple(column for column in plan.sight.columns if column not in removed)
    # a benchmark that no column needs is refused by the check of the plan
    if plan.sight.benchmark and not (remaining and "benchmark" in SightSpec(columns=remaining).declared.needs):
        changes["sight.benchmark"] = ""
    generated = [feature for feature in removed if SYNTHETIC in feature]
    return Part(name, replaced(plan, changes), removed, note=SYNTHETIC if generated else "")


def _regime(plan: Plan) -> Part:
    return _without_features(plan, "regime", re.compile(r"^regime_"), "the plan has no regime: no feature regime_*")


def _memory(plan: Plan) -> Part:
    """Return the variant without memory: a network without a state, and no window of earlier sessions."""
    network, window = getattr(plan.learner, "network", "mlp"), plan.sight.window
    remembers = network in WITH_MEMORY
    removed = [f"learner.network = {network}"] if remembers else []
    removed += [f"sight.window = {window}"] if window else []
    if not removed:
        return Part("memory", missing=f"the plan has no memory: its network is {network}, and sight.window is 0")
    # a shared network keeps nothing of earlier samples: another network in its place would be a change of two parts
    changes: dict[str, Any] = {"learner.network": "mlp"} if remembers else {}
    return Part("memory", replaced(plan, {**changes, "sight.window": 0}), tuple(removed))


def _critic(plan: Plan) -> Part:
    """Return the variant whose critic is not trained, or the reason where the plan's learner has no critic."""
    weight = getattr(plan.learner, "value_weight", None)
    if weight is None:
        return Part("critic", missing=f"the plan has no critic beside its policy: {plan.agent} learns from it alone")
    if weight == 0.0:
        return Part("critic", missing="the plan has no critic: learner.value_weight is 0")
    # with lambda 1 an advantage is a return less the critic's estimate, which stays as initialised: with a smaller
    # lambda the untrained estimates of later steps would enter too
    changes = {"learner.value_weight": 0.0, "learner.gae_lambda": 1.0}
    return Part("critic", replaced(plan, changes), (f"learner.value_weight = {weight:g}",))


def _without_penalty(name: str, key: str, get: Callable[[Plan], float]) -> Callable[[Plan], Part]:
    """Return a function from a plan to its variant with `key` at 0; `get` reads the penalty's weight from a plan."""

    def variant_of(plan: Plan) -> Part:
        if not (weight := get(plan)):
            return Part(name, missing=f"the plan has no {name}")
        return Part(name, replaced(plan, {key: 0.0}), (f"{key} = {weight:g}",))

    return variant_of


def _composite_weight(term: str) -> Callable[[Plan], float]:
    """Return a function from a plan to the weight of a penalty `term` of its composite reward, 0 without a penalty."""

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


def _without_agents_drawdowns(plan: Plan) -> Part:
    name = "agents' drawdown penalty"
    removed = tuple(f"{agent.name} {agent.drawdown_penalty:g}" for agent in plan.market.seats if agent.drawdown_penalty)
    if not removed:
        return Part(name, missing=f"the plan has no {name}")
    seats = [msgspec.structs.replace(agent, drawdown_penalty=0.0) for agent in plan.market.seats]
    return Part(name, replaced(plan, {"market.seats": msgspec.to_builtins(seats)}), removed)


PARTS: Final[Mapping[str, Callable[[Plan], Part]]] = {
    "regime": _regime,
    "memory": _memory,
    "critic": _critic,
    "drawdown penalty": _without_penalty(
        "drawdown penalty", "market.reward.drawdown_penalty", lambda plan: plan.market.reward.drawdown_penalty
    ),
    "turnover penalty": _without_penalty(
        "turnover penalty", "market.reward.turnover_penalty", lambda plan: plan.market.reward.turnover_penalty
    ),
    **{
        f"{term} penalty": _without_penalty(
            f"{term} penalty", f"market.reward.composite.{term}", _composite_weight(term)
        )
        for term in ("risk", "cost", "stability")
    },
    "diversity penalty": _diversity,
    "agents' drawdown penalty": _without_agents_drawdowns,
}
"""Name of a part of a learner -> function from a plan to the variant without it."""


def _without_agent(plan: Plan, name: str) -> Part:
    """Return the variant without one agent. The counts of steps shrink in proportion to the agents, so that each of the
    remaining agents sees as many sessions, and learns as often, as in the full plan."""
    seats = plan.market.seats  # the agents of the plan
    if not seats:
        return Part(EVERY_AGENT, missing=f"the plan has no agents: {plan.agent} is one")
    if len(seats) < 3:
        return Part(
            f"{OF_AGENT}{name}", missing="the plan has two agents: without either of them, no joint learner remains"
        )
    remaining = [agent for agent in seats if agent.name != name]
    agents, fewer = len(seats), len(remaining)
    learner = plan.learner
    keys = [key for key in ("train_every", "warmup", "noise_steps", "buffer") if hasattr(learner, key)]
    counts = {f"learner.{key}": int(getattr(learner, key)) for key in keys}
    counts |= {key: int(getattr(plan, key)) for key in ("steps", "evaluate_every", "checkpoint_every")}
    changes: dict[str, Any] = {key: max(1, count * fewer // agents) for key, count in counts.items()}
    changes |= {
        "learner.agents": fewer,
        "market.batch": plan.market.batch // agents * fewer,
        "market.seats": msgspec.to_builtins(remaining),
    }
    return Part(f"{OF_AGENT}{name}", replaced(plan, changes), (name,))

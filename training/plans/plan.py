"""The plan of a training: read from TOML over the defaults of its learner, changed by dotted keys.

What can go wrong. One mistake would hide another, and a user would correct a plan mistake by mistake: so rules are
checked on all fields without a mistake, and all mistakes are reported together. A misspelt key would be ignored and its
default used: so unknown keys are mistakes. A checkpoint or manifest of an earlier version lacks a key: so the key has
its default.

What the order guarantees. Names of column sets are replaced by columns first, then the layout of observations is
computed from these columns, and then the learner's settings, which include the layout, are read.
"""

from collections.abc import Mapping, Sequence
from math import comb, inf
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints

import msgspec
from msgspec import Struct

from quantd.models.history.splits import USUAL_SPLITS, Splits
from quantd.models.observation import sight as sights
from quantd.models.observation.sight import SightSpec
from quantd.trading.cash_rate import HIGHEST, LOWEST
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, usual_lot_nano
from quantd.training.learners.record import Learner, LearnerPlan, learners, number_mistakes
from quantd.training.market.episodes import Episodes
from quantd.training.market.terms import NOT_SIMULATED, USUAL_COSTS, Diversity, Kind, RewardPlan, Seat
from quantd.training.networks.sizes import Layout
from quantd.training.plans.data_plan import (
    DataPlan,
    PlanError,
    Table,
    converted,
    decoded,
    laid,
    lay,
    located,
    meant,
)
from quantd.training.plans.plan_sight import named_columns, sight_faults

ALLOCATIONS: Final = 5_000
"""Maximum number of discrete allocations of several symbols: a value of each is computed for each decision."""


class MarketPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """The market settings of a plan: the simulated training accounts, and the account of evaluations.

    Raises ValueError for values out of range, such as a batch of 0.
    """

    batch: int = 8
    """Number of accounts that learn in parallel."""
    kind: Kind = "simplex"
    parts: int = 2
    """Number of equal parts of a discrete allocation."""
    cash: bool = True
    """Whether the parts of a discrete allocation may be cash."""
    equal_weight: bool = False
    """Whether equal parts of all symbols are a further discrete allocation."""
    breadth: float = 0.0
    """Fraction of the symbols that a discrete allocation holds in equal parts; 0: `parts` parts, of which one symbol
    may have several. `held` has the number of symbols."""
    gross: float = 1.0
    """Maximum gross exposure of a box action, over equity."""
    reward: RewardPlan = RewardPlan()
    episodes: Episodes = Episodes()
    costs: Costs = USUAL_COSTS
    capital: float = 100_000.0
    seats: tuple[Seat, ...] = ()
    """Agents of a desk; `batch` accounts form desks. Together they trade the mean of their weights, by capital."""
    diversity: Diversity = Diversity()
    """Penalty on similar returns of the agents."""
    lot: float | dict[str, float] | None = None
    """Lot size of evaluations in units; by default a share, or 1e-8 of a coin. Training accounts trade fractions."""
    cash_rate: float | str | None = None
    """Annual interest on cash: a fraction, or the path of a series (CSV: date,rate). It is also the risk-free rate."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range, and for episodes with which no training works."""
        if self.batch < 1 or self.parts < 1 or self.capital <= 0.0 or self.gross <= 0.0:
            raise ValueError("batch and parts must be 1 or more, capital and gross above 0")
        if not 0.0 <= self.breadth <= 1.0:
            raise ValueError(f"breadth {self.breadth:g}: it must be a fraction of the symbols, from 0 to 1")
        for size in self.lot.values() if isinstance(self.lot, dict) else () if self.lot is None else (self.lot,):
            if not 1.0 / NANO <= size < inf:
                raise ValueError(f"lot {size:g}: a lot must be {1.0 / NANO:g} or more")
        if isinstance(self.cash_rate, float) and not LOWEST <= self.cash_rate <= HIGHEST:
            raise ValueError(f"cash_rate {self.cash_rate:g}: the annual rate must be {LOWEST:g} to {HIGHEST:g}")
        if self.episodes.together != 1 or not self.episodes.random:
            raise ValueError("training needs market.episodes.random = true and market.episodes.together = 1")

    def held(self, symbols: int) -> int:
        """Return how many of `symbols` symbols a discrete allocation holds: the fraction `breadth` of them; 0 where
        `breadth` is 0.

        The number is rounded and at least 1. The number is lower where there would be more than ALLOCATIONS
        allocations.
        """
        if not self.breadth:
            return 0
        count = max(1, round(self.breadth * symbols))
        return next(size for size in range(count, 0, -1) if size == 1 or comb(symbols, size) <= ALLOCATIONS)

    def lots(self, symbols: Sequence[str]) -> tuple[float, ...]:
        """Return the lot sizes of `symbols`, in units."""
        if isinstance(self.lot, float):
            return (self.lot,) * len(symbols)
        lot_by_symbol = self.lot or {}
        return tuple(lot_by_symbol.get(symbol, usual_lot_nano(symbol) / NANO) for symbol in symbols)


USUAL_ERRORS: Final = 1.0
"""Of two policies within one standard error the simpler one is chosen (Breiman, Friedman, Olshen and Stone 1984)."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """The plan of one training. Choices use the part `splits.validation`; `splits.test` is evaluated once, at the end.

    Raises ValueError with a line for each mistake.
    """

    name: str
    agent: str
    """Name of the learner."""
    learner: LearnerPlan
    profile: str = ""
    """Named settings that the plan is based on."""
    data: DataPlan = DataPlan()
    splits: Splits = USUAL_SPLITS
    warmup_days: int = 400
    """Calendar days before the training part that only fill the features' lookback."""
    purge: int = 1
    """Sessions until the outcome of a decision. A decision with an outcome outside its part is left out."""
    embargo: int = 5
    """Further sessions between the last outcome of a part and the first decision of the next."""
    sight: SightSpec = SightSpec()
    market: MarketPlan = MarketPlan()
    normalise: bool = True
    """Whether observations are scaled by running mean and deviation, and rewards by their deviation."""
    steps: int = 150_000
    """Env-steps of each seed, of all accounts together."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    evaluate_every: int = 10_000
    """Env-steps between evaluations on the validation part."""
    checkpoint_every: int = 50_000
    """Env-steps between checkpoints, which are written at the end of a rollout."""
    keep: int = 3
    """Number of checkpoints per seed, in addition to the best one."""
    patience: int = 10
    """Evaluations without improvement before a seed stops; 0: never."""
    choose_by: Literal["sharpe", "excess", "growth"] = "sharpe"
    """The figure by which an evaluation on the validation part, after costs, is chosen: the highest wins. "sharpe" is
    the Sharpe ratio. "excess" is the information ratio of the daily log returns above those of equal weight, less
    `errors_above` standard errors. "growth" is the mean of these returns a year, less as many standard errors. With
    "excess" or "growth", the untrained policy is chosen where no evaluation is above 0, so that a policy that trades
    noise is rarely chosen."""
    errors_above: float = USUAL_ERRORS
    """Standard errors by which an evaluation must be above equal weight, with `choose_by` "excess" or "growth". The
    best of twelve evaluations of noise is 1.6 above on average, if they are independent."""
    clone: str = ""
    """A classical policy to imitate before learning ("risk_parity"); empty for none."""
    device: str = "cpu"
    tuning_trials: int = 0
    """Number of trials of `quantd tune` behind these settings: each seed at each evaluation of its trials."""

    @property
    def ratio(self) -> str:
        """The name, in words, of the performance figure that `choose_by` selects."""
        names = {"excess": "excess over equal weight", "growth": "growth over equal weight"}
        return names.get(self.choose_by, "Sharpe ratio")

    def __post_init__(self) -> None:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        if mistakes := [*_rule_mistakes(fields), *sight_faults(self.sight, self.data)[0]]:
            raise ValueError("\n".join(mistakes))


Fields = dict[str, Any]
"""The fields of a plan by name; None for a field with a mistake."""


def _rule_mistakes(fields: Fields) -> list[str]:
    """Return the mistakes in the numbers of a plan, and the contradictions of its fields.

    `fields` are the plan's fields by name. A field of None has a mistake that is reported already; it is not checked.
    """
    mistakes = []
    counts = [
        fields[name] for name in ("steps", "evaluate_every", "checkpoint_every", "keep") if fields[name] is not None
    ]
    if fields["tuning_trials"] is not None and fields["tuning_trials"] < 0:
        mistakes.append(f"tuning_trials {fields['tuning_trials']}: it must be 0 or more")
    if min(counts, default=1) < 1 or (fields["patience"] or 0) < 0:
        mistakes.append("steps, evaluate_every, checkpoint_every and keep must be 1 or more, patience 0 or more")
    if (errors := fields["errors_above"]) is not None and not 0.0 <= errors < inf:
        mistakes.append(f"errors_above {errors:g}: it must be 0 or more")
    purge, embargo, warmup_days = (fields[name] for name in ("purge", "embargo", "warmup_days"))
    if None not in (purge, embargo, warmup_days) and (purge < 1 or embargo < 0 or warmup_days < 0):
        mistakes.append(f"purge {purge} must be 1 or more, embargo {embargo} and warmup_days 0 or more")
    seeds = fields["seeds"]
    if seeds is not None and (not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0):
        mistakes.append(f"seeds {list(seeds)}: name one or more, each once, 0 or above")
    market, learner = fields["market"], fields["learner"]
    record = learners()[fields["agent"]]
    if learner is not None and type(learner) is not record.plan:
        mistakes.append(f"learner {type(learner).__name__}: it is not the plan of agent {record.name}")
        return mistakes
    if learner is not None:
        mistakes += number_mistakes(learner)
    if market is None:
        return mistakes
    for name in NOT_SIMULATED:
        if getattr(market.costs, name):
            setting = f"market.costs.{name} {getattr(market.costs, name):g}"
            mistakes.append(
                f"{setting}: training accounts lack this cost; write 0, and set it in [broker] of the configuration"
            )
    if market.kind not in record.kinds:
        mistakes.append(f"market.kind {market.kind}: {record.name} takes {' or '.join(record.kinds)}")
    if getattr(learner, "gains", False) and learner.network != "shared":
        mistakes.append(f'learner.gains: network {learner.network} has none; write learner.network = "shared"')
    if getattr(learner, "network", "") == "shared" and market.kind == "discrete":
        if record.kinds != ("discrete",):
            remedy = "market.kind = simplex, or box"
            mistakes.append(f"learner.network shared scores assets, not allocations; write {remedy}")
        elif market.parts > 1 and not market.breadth:
            parts = f"allocations of {market.parts} parts"
            mistakes.append(f"learner.network shared values single assets, not {parts}; write market.parts = 1")
        elif market.equal_weight and not market.cash:
            mistakes.append("learner.network shared values equal weight beside cash; write market.cash = true")
    lots = {*market.lot} if isinstance(market.lot, dict) and fields["data"] is not None else set[str]()
    if unknown := lots.difference(fields["data"].symbols if lots else ()):
        mistakes.append(f"market.lot: {', '.join(sorted(unknown))} is not in data.symbols; remove it, or add it there")
    if not record.several and market.seats:
        learners_of_several = ", ".join(candidate.name for candidate in learners().values() if candidate.several)
        mistakes.append(f"market.seats: {record.name} is one agent; several are trained by {learners_of_several}")
    if record.several and learner is not None:
        mistakes += _seat_mistakes(market, learner.agents, fields["sight"], record.name)
    return mistakes


def _seat_mistakes(market: MarketPlan, agents: int, sight: SightSpec | None, name: str) -> list[str]:
    """Return the mistakes in the seats (the agents that are trained together) of a learner `name` of several agents."""
    seats, mistakes = market.seats, []
    if len(seats) != agents or len({agent.name for agent in seats}) != len(seats):
        mistakes.append(
            f"market.seats: {len(seats)} for learner.agents {agents}; write one for each agent, with different names"
        )
    if market.batch % agents:
        mistakes.append(f"market.batch {market.batch}: it must be a multiple of {agents}, the agents of a desk")
    if sight is not None and sight.book:
        mistakes.append(f"sight.book: {name} has agents that trade one book together; write book = []")
    return mistakes


def learner_named(name: object) -> Learner:
    """Return a learner by name. Raises PlanError for an unknown name."""
    learners_by_name = learners()
    if not isinstance(name, str) or name not in learners_by_name:
        raise PlanError(
            f"agent {name!r}: name one of {', '.join(learners_by_name)}{meant(str(name), learners_by_name)}"
        )
    return learners_by_name[name]


def default(agent: str, profile: str = "") -> Plan:
    """Return the defaults of `agent` and `profile`. Raises PlanError for unknown names."""
    record = learner_named(agent)
    plan = Plan(
        name=profile or agent,
        agent=agent,
        learner=record.plan(),
        profile=profile,
        sight=msgspec.convert(record.defaults.get("sight", {}), SightSpec),
        market=msgspec.convert(record.defaults.get("market", {}), MarketPlan),
    )
    # checks the defaults, and computes the layout of the observation for the learner
    plan = _changed(plan, {})
    if not profile:
        return plan
    if profile not in record.profiles:
        profile_names = ", ".join(record.profiles) or "none"
        raise PlanError(f"profile {profile!r}: {agent} has {profile_names}{meant(profile, record.profiles)}")
    return _changed(plan, record.profiles[profile])


def read(path: Path, changes: Mapping[str, object] | None = None) -> Plan:
    """Read a plan from a TOML file, over `default(agent, profile)`. `changes` replace the file's values at dotted keys.

    Raises PlanError for mistakes, and OSError for an unreadable file.
    """
    return parsed(path.read_text(encoding="utf-8"), str(path), changes)


def parsed(text: str, where: str, changes: Mapping[str, object] | None = None) -> Plan:
    """Parse a plan from TOML text, which messages call `where`. Raises PlanError with the line of each mistake."""
    table = decoded(text, where)
    if "agent" not in table:
        raise PlanError(f'{where}: agent is missing; write agent = "ppo" (or another of {", ".join(learners())})')
    try:
        plan = default(table["agent"], table.get("profile", ""))
        return _changed(plan, laid(changes or {}, table))
    except PlanError as error:
        raise PlanError(located(text, where, str(error))) from None


def replaced(plan: Plan, changes: Mapping[str, object]) -> Plan:
    """Return `plan` with changed values at dotted keys, {"learner.gamma": 0.95}.

    Raises PlanError for invalid values.
    """
    return _changed(plan, laid(changes))


def restored(table: Mapping[str, object]) -> Plan:
    """Return the plan that an artifact's manifest contains as a table.

    Raises PlanError where this version cannot read it.
    """
    return _changed(default(learner_named(table.get("agent")).name), _without_null(table))


def _without_null(table: Mapping[str, object]) -> Table:
    """Return a table without the keys whose value is null. In JSON null stands for infinity or None, the default of
    such a key.
    """
    return {
        key: _without_null(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


def described(plan: Plan) -> dict[str, object]:
    """Return every setting by its dotted key, with values as in JSON."""
    flat: dict[str, object] = {}

    def walk(prefix: str, table: Table) -> None:
        for key, value in table.items():
            if isinstance(value, dict) and value:
                walk(f"{prefix}{key}.", value)
            else:
                flat[f"{prefix}{key}"] = value

    walk("", msgspec.to_builtins(plan))
    return flat


def laid_over(plan: Plan, changes: Mapping[str, Any]) -> tuple[Fields, list[str]]:
    """Return the fields of `plan` with the nested `changes`, and all mistakes in them.

    The sight (the input of the policy) has only its columns without mistakes; it is None where names of columns are
    unknown. A network that reads each asset separately gets the layout: where each asset's entries are in an
    observation.
    """
    table: Table = msgspec.to_builtins(plan)
    mistakes = lay(table, changes, "")
    unknown_columns = named_columns(table)
    mistakes += unknown_columns
    kinds = get_type_hints(Plan)
    record = learners()[plan.agent]
    usual: Table = msgspec.to_builtins(plan)
    fields = {name: converted(name, table, usual, kind, mistakes) for name, kind in kinds.items() if name != "learner"}
    spec, data = fields["sight"], fields["data"]
    if "layout" in table["learner"] and spec and data:
        network, weights_position = table["learner"]["network"], None
        needs_layout = record.several or network in ("transformer", "shared")
        if network == "shared" and "weights" in spec.book:
            # the first entry of the held weights in an observation
            weights_position = spec.market(len(data.symbols)) + spec.book.index("weights")
        market = fields["market"]
        symbols_held = market.held(len(data.symbols)) if market is not None and market.kind == "discrete" else 0
        features = sights.of_asset(spec.features, spec.columns)
        has_gains = network == "shared" and table["learner"].get("gains") is True
        layout = Layout(len(data.symbols), features, spec.window, weights_position, max(symbols_held, 1), has_gains)
        table["learner"]["layout"] = msgspec.to_builtins(layout) if needs_layout else None
    fields["learner"] = converted("learner", table, usual, record.plan, mistakes)
    if spec is not None and data is not None and not unknown_columns:
        faults, fields["sight"] = sight_faults(spec, data)
        mistakes += faults
    else:
        fields["sight"] = None
    return fields, mistakes + _rule_mistakes(fields)


def _changed(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    """Return `plan` with the nested `changes`. Raises PlanError with all mistakes."""
    if changes.get("agent", plan.agent) != plan.agent:
        raise PlanError(f"agent {changes['agent']!r}: this plan is of {plan.agent}; begin from a plan of that agent")
    fields, mistakes = laid_over(plan, changes)
    if mistakes:
        raise PlanError("\n".join(mistakes))
    return Plan(**fields)

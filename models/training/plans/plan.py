"""The plan of a training: read from TOML over the defaults of its learner, changed by dotted keys."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Struct

from quantd.bundled import find
from quantd.models.history.panel import MacroSource, SeriesSource
from quantd.models.history.splits import USUAL_SPLITS, Splits
from quantd.models.learners.record import Learner, LearnerPlan, learners
from quantd.models.market.desks import Diversity, Seat
from quantd.models.market.episodes import Episodes
from quantd.models.market.rewards import RewardPlan
from quantd.models.market.simulator import USUAL_COSTS
from quantd.models.market.vector_env import Kind
from quantd.models.networks.transformer import Layout
from quantd.models.observation import sight as sights
from quantd.models.observation.sight import SightSpec
from quantd.trading.cash_rate import HIGHEST, LOWEST
from quantd.trading.execution import Costs
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.instruments import NANO, usual_lot_nano

Table = dict[str, Any]
"""A table as parsed from TOML."""

_HEADER: Final = re.compile(r"^\s*\[+\s*([^\]]+?)\s*\]+")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")


class PlanError(ExplainedError, ValueError):
    """An invalid plan; the message names file, line, key, value and remedy."""

    exit_code = CONFIG


class DataPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """Data files, relative to the working directory or bundled, and their columns in order."""

    bars: str = "data/us_daily.parquet"
    actions: str = "data/us_actions.csv"
    """Splits and dividends; empty for none."""
    symbols: tuple[str, ...] = ("AAPL", "BAC", "IWM", "QQQ", "SPY")
    macro: tuple[MacroSource, ...] = ()
    """Macro series that the columns of a sight use."""
    series: tuple[SeriesSource, ...] = ()
    """Series per symbol that they use."""

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise ValueError(f"symbols {list(self.symbols)}: one or more, each once")
        for key, names in (("macro", [m.name for m in self.macro]), ("series", [s.name for s in self.series])):
            if len(set(names)) != len(names):
                raise ValueError(f"{key} {', '.join(names)}: each name once")

    @property
    def sources(self) -> tuple[MacroSource, ...]:
        """The macro series, then the series per symbol in use."""
        return (*self.macro, *(each for each in self.series if each.use))

    @property
    def files(self) -> tuple[Path, Path | None]:
        """Paths of the bars and of the actions."""
        return find(self.bars), find(self.actions) if self.actions else None


class MarketPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """The training accounts, and the account of evaluations."""

    batch: int = 8
    """Number of accounts that learn in parallel."""
    kind: Kind = "simplex"
    parts: int = 2
    """Number of equal parts of a discrete allocation."""
    cash: bool = True
    """Whether such parts may be cash."""
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
        if self.batch < 1 or self.parts < 1 or self.capital <= 0.0 or self.gross <= 0.0:
            raise ValueError("batch and parts from 1 on; capital and gross above 0")
        for size in self.lot.values() if isinstance(self.lot, dict) else () if self.lot is None else (self.lot,):
            if not 1.0 / NANO <= size < inf:
                raise ValueError(f"lot {size:g}: a size of {1.0 / NANO:g} or more")
        if isinstance(self.cash_rate, float) and not LOWEST <= self.cash_rate <= HIGHEST:
            raise ValueError(f"cash_rate {self.cash_rate:g}: a fraction a year, {LOWEST:g} to {HIGHEST:g}")
        if self.episodes.together != 1 or not self.episodes.random:
            raise ValueError("episodes of accounts that learn are drawn, each on a path of its own")

    def lots(self, symbols: Sequence[str]) -> tuple[float, ...]:
        """Return the lot sizes of `symbols`, in units."""
        if isinstance(self.lot, float):
            return (self.lot,) * len(symbols)
        named = self.lot or {}
        return tuple(named.get(symbol, usual_lot_nano(symbol) / NANO) for symbol in symbols)


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """One training. Choices use `splits.validation`; `splits.test` is evaluated once, at the end."""

    name: str
    agent: str
    """Name of the learner."""
    learner: LearnerPlan
    profile: str = ""
    """Named settings that it is based on."""
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
    clone: str = ""
    """A classical policy to imitate before learning ("risk_parity"); empty for none."""
    device: str = "cpu"
    tuning_trials: int = 0
    """Number of trials of `quantd tune` behind these settings: each seed at each evaluation of its trials."""

    def __post_init__(self) -> None:
        if self.tuning_trials < 0:
            raise ValueError(f"tuning_trials {self.tuning_trials}: 0 or more")
        if min(self.steps, self.evaluate_every, self.checkpoint_every, self.keep) < 1 or self.patience < 0:
            raise ValueError("steps, evaluate_every, checkpoint_every and keep from 1 on, patience from 0")
        if self.purge < 1 or self.embargo < 0 or self.warmup_days < 0:
            raise ValueError(f"purge {self.purge} from 1 on, embargo {self.embargo} and warmup_days from 0")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds {list(self.seeds)}: one or more, each once, from 0 on")
        record = learners()[self.agent]
        if type(self.learner) is not record.plan:
            raise ValueError(f"learner {type(self.learner).__name__} for agent {self.agent}")
        if self.market.kind not in record.kinds:
            raise ValueError(f"market.kind {self.market.kind}: {self.agent} takes {' or '.join(record.kinds)}")
        if isinstance(self.market.lot, dict) and (unknown := set(self.market.lot) - set(self.data.symbols)):
            raise ValueError(f"market.lot: {', '.join(sorted(unknown))} is none of data.symbols")
        fault = sights.fault(self.sight, self.data.symbols)
        given = {"macro": {m.name for m in self.data.macro}, "series": {s.name for s in self.data.series if s.use}}
        for key, names in (("macro", self.sight.macro), ("series", self.sight.series)) if not fault else ():
            if missing := set(names) - given[key]:
                named = f'{{ name = "{min(missing)}", path = "FILE" }}'
                fault = f"columns: the series {min(missing)} is missing; write data.{key} = [{named}]"
        if fault:
            raise ValueError(f"sight{'.' if fault.startswith(('columns: ', 'benchmark: ')) else ': '}{fault}")
        if record.several:
            self._check_seats(self.learner.agents)  # type: ignore[attr-defined]
        elif self.market.seats:
            several = ", ".join(each.name for each in learners().values() if each.several)
            raise ValueError(f"market.seats: {self.agent} is one agent; several are trained by {several}")

    def _check_seats(self, agents: int) -> None:
        seats = self.market.seats
        if len(seats) != agents or len({seat.name for seat in seats}) != len(seats):
            raise ValueError(f"market.seats: {len(seats)} for learner.agents {agents}; as many, each of its own name")
        if self.market.batch % agents:
            raise ValueError(f"market.batch {self.market.batch}: a multiple of {agents}, the agents of a desk")
        if self.sight.book:
            raise ValueError(
                f"sight.book: none for {self.agent}, whose agents trade one book together; write book = []"
            )


def learner_named(name: object) -> Learner:
    """Return a learner by name. Raises PlanError for an unknown one."""
    known = learners()
    if not isinstance(name, str) or name not in known:
        raise PlanError(f"agent {name!r}: one of {', '.join(known)}{_meant(str(name), known)}")
    return known[name]


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
    plan = _over(plan, {})
    if not profile:
        return plan
    if profile not in record.profiles:
        named = ", ".join(record.profiles) or "none"
        raise PlanError(f"profile {profile!r}: {agent} has {named}{_meant(profile, record.profiles)}")
    return _over(plan, record.profiles[profile])


def read(path: Path) -> Plan:
    """Read a plan from a TOML file over `default(agent, profile)`. Raises PlanError, OSError."""
    return parsed(path.read_text(encoding="utf-8"), str(path))


def parsed(text: str, where: str) -> Plan:
    """Parse a plan from text; messages call it `where`."""
    try:
        table = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise PlanError(f"{where}: {error}") from None
    if "agent" not in table:
        raise PlanError(f'{where}: agent is missing; write agent = "ppo" (or another of {", ".join(learners())})')
    try:
        plan = default(table["agent"], table.get("profile", ""))
        return _over(plan, table)
    except PlanError as error:
        key = str(error).split(" ", 1)[0].rstrip(":")
        line = _line_of(text, key)
        raise PlanError(f"{where}:{line}: {error}" if line else f"{where}: {error}") from None


def replaced(plan: Plan, changes: Mapping[str, object]) -> Plan:
    """Return `plan` with values at dotted keys, {"learner.gamma": 0.95}. Raises PlanError for invalid changes."""
    table: Table = {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        at = table
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return _over(plan, table)


def restored(table: Mapping[str, object]) -> Plan:
    """Return the plan in an artifact's manifest. Raises PlanError where this version cannot read it."""
    return _over(default(learner_named(table.get("agent")).name), _written(table))


def _written(table: Mapping[str, object]) -> Table:
    """Return a table without null, which stands for infinity and for None in JSON: both are defaults."""
    return {
        key: _written(value) if isinstance(value, dict) else value for key, value in table.items() if value is not None
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


def _over(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    table: Table = msgspec.to_builtins(plan)
    if changes.get("agent", plan.agent) != plan.agent:
        raise PlanError(f"agent {changes['agent']!r}: this plan is of {plan.agent}; begin from a plan of the other")
    _lay(table, changes, "")
    try:
        unused = [each["name"] for each in table["data"]["series"] if each.get("use") is False]
        table["sight"]["columns"] = sights.names_in(table["sight"]["columns"], unused)
    except ValueError as error:
        raise PlanError(f"sight.columns: {error}") from None
    kinds = get_type_hints(Plan)
    record = learners()[plan.agent]
    kinds["learner"] = record.plan
    made: dict[str, Any] = {}
    if "layout" in table["learner"]:
        spec, assets = table["sight"], len(table["data"]["symbols"])
        shown = record.several or table["learner"]["network"] == "transformer"
        layout = Layout(assets, sights.of_asset(spec["features"], spec["columns"]), spec["window"])
        table["learner"]["layout"] = msgspec.to_builtins(layout) if shown else None
    for name, kind in kinds.items():
        try:
            made[name] = msgspec.convert(table[name], kind)
        except msgspec.ValidationError as error:
            raise PlanError(_named(name, error, table[name])) from None
    try:
        return Plan(**made)
    except ValueError as error:
        raise PlanError(str(error)) from None


def _lay(onto: Table, changes: Mapping[str, Any], prefix: str) -> None:
    for key, value in changes.items():
        if key not in onto:
            raise PlanError(f"{prefix}{key} is not a key of a plan{_meant(key, onto)}")
        if isinstance(value, dict) and isinstance(onto[key], dict):
            _lay(onto[key], value, f"{prefix}{key}.")
        elif isinstance(onto[key], dict):
            raise PlanError(f"{prefix}{key} = {value!r}: a table of {', '.join(onto[key])} is expected")
        else:
            onto[key] = value


def _named(name: str, error: msgspec.ValidationError, value: object) -> str:
    """Return the message of a validation error, with the full key first and the value."""
    what, _, path = str(error).partition(" - at `$")
    key = name + path.rstrip("`").partition("[")[0]
    for part in key.split(".")[1:]:
        value = value.get(part, "") if isinstance(value, dict) else ""
    shown = "" if isinstance(value, dict) or value == "" else f" = {value!r}"
    return f"{key}{shown}: {what[:1].lower()}{what[1:]}"


def _line_of(text: str, key: str) -> int:
    """Return the line, from 1, of the dotted `key` or of its nearest parent in the text; 0 when there is none."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = str(header[1]).replace('"', "")
            found.setdefault(table, number)
        elif entry := _KEY.match(line):
            key_here = str(entry[1]).replace('"', "")
            found.setdefault(f"{table}.{key_here}" if table else key_here, number)
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        at = found.get(name) or next((n for known, n in found.items() if known.startswith(f"{name}.")), 0)
        if at:
            return at
    return 0


def _meant(word: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(str(word), list(known), 1)
    return f". Did you mean {close[0]}?" if close else ""

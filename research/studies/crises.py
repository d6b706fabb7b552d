"""Measures a run in named crises, beside its benchmarks, and what each limit of the gate did in them, in money.

The account is run once over the whole market, and a crisis is a window of that run. The effect of a limit is the
difference to a second run without this limit, in the house and in every agent.

What can go wrong: the effect of a limit before a crisis counts as its effect in it. Both runs start at the same sample,
so that their accounts may already differ at the start of a window. `LimitEffect.before` is that difference. Where the
account is the same without a limit, one with cuts is redundant, and one without any was never binding.

Each run without a limit is a trial. All of them are noted in the ledger before the trials are counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.assembly.parts import Assembly, reassemble
from quantd.daemon.engine.state.settings import Rules
from quantd.research.runs.benchmark_runs import Benchmark, benchmark_record
from quantd.research.runs.comparison import Drive, performance_of, recorded, samples_a_year, settings_of
from quantd.research.runs.failures import AgentFailures
from quantd.research.runs.looks import look_of, try_note_looks
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Known, Look
from quantd.risk.limits.catalogue import FIELDS, LIMIT_OF, LIMITS, Limits, override, value_of
from quantd.trading.display_text import session_date
from quantd.trading.effects import Ask, Effect, Planned, Switched
from quantd.trading.events import Decided, Event
from quantd.trading.instruments import MICRO, synthetic_note
from quantd.trading.ports import Policy, leaves
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import OWN_CLOSES


class Period(Struct, frozen=True):
    """A named period; both dates belong to it."""

    name: str
    first: date
    last: date


PERIODS: Final = (
    Period("dot-com", date(2000, 3, 1), date(2002, 10, 31)),
    Period("2008", date(2008, 1, 1), date(2009, 3, 31)),
    Period("euro debt", date(2011, 8, 1), date(2012, 6, 30)),
    Period("2015-16", date(2015, 8, 1), date(2016, 2, 29)),
    Period("end of 2018", date(2018, 10, 1), date(2018, 12, 31)),
    Period("COVID", date(2020, 2, 1), date(2020, 4, 30)),
    Period("2022 rates", date(2022, 1, 1), date(2022, 10, 31)),
)
"""The periods of every study of crises."""

OWN: Final = "this run"

EVERY_LIMIT: Final = "all of these"

REGIME: Final = "volatile_exposure"
"""The limit of [risk.regime], which is not a field of `Limits`."""

PAUSE: Final = timedelta(days=4)
"""The longest time without a session: a weekend with holidays on both sides. Later bars are missing after it."""

LEVEL: Final = 1e-12
"""Drawdowns up to this are none."""


class Row(Struct, frozen=True):
    """One account in one period. `gain` is in account currency; fractions are not percent.

    `low` is the date of the largest drawdown, and `recovered` the first date on which the account was worth as much as
    at the high before; empty where it never was. `recovery_days` are the calendar days between them. `trained` counts
    the samples inside the training window of the policy.
    """

    policy: str
    total_return: float
    gain: float
    max_drawdown: float
    low: str
    recovered: str
    recovery_days: int | None
    trained: int = 0
    failed: str = ""


class LimitEffect(Struct, frozen=True):
    """The run with a limit less the run without it, in one period or over the whole run.

    `cuts` counts the orders that this limit cut or refused, each agent's and the house's, and the stops that it
    caused. `gain` is the difference in money: positive where the limit earned; `total_return` is that of the returns.
    `max_drawdown` is the difference of the drawdowns: negative where the limit made it smaller. `before` is the
    difference in money that the accounts had already at the start. `same`: both accounts moved by the same amount at
    each sample.
    """

    limit: str
    where: tuple[str, ...]
    cuts: int
    gain: float
    total_return: float
    max_drawdown: float
    before: float
    same: bool
    failed: str = ""

    @property
    def bound(self) -> str:
        """Whether the limit changed anything, in words."""
        if self.failed:
            return f"no figure: without it {self.failed}"
        if self.same:
            return "redundant: without it the account is the same" if self.cuts else "never binding"
        return "binding" if self.cuts or not self.before else "no cut here; the accounts differed before"


class Crisis(Struct, frozen=True):
    """One period: its rows and the effect of each limit; `missing` says why there are none.

    `first` and `last` are the dates of the first and the last measured sample. `partial` names the part of the period
    without samples.
    """

    name: str
    period: tuple[str, str]
    first: str = ""
    last: str = ""
    samples: int = 0
    missing: str = ""
    partial: str = ""
    rows: tuple[Row, ...] = ()
    limits: tuple[LimitEffect, ...] = ()

    @property
    def in_sample(self) -> bool:
        """Whether a sample of this run lies inside the training window of its policies."""
        return any(row.trained for row in self.rows if row.policy == OWN)


class Crises(Struct, frozen=True):
    """The result. `limits` are the effects over the whole run, and `always` the limits that are never left out."""

    run: str
    first: str
    last: str
    first_fill: str
    crises: tuple[Crisis, ...]
    limits: tuple[LimitEffect, ...]
    always: tuple[str, ...]
    known: Known
    benchmark_limits: Mapping[str, str]
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def study(
    assembly: Assembly,
    benchmarks: Sequence[Benchmark],
    drive: Callable[[str], Drive],
    state: Path,
    windows: Sequence[Period] = (),
    family: str = "",
) -> Crises:
    """Measure the run of `assembly` in PERIODS and `windows`, beside its benchmarks and without each of its limits.

    `drive(name)` runs one of them. The run, and each run without a limit, is noted as a trial in the folder `state`.
    Raises Incomparable when the settings of a benchmark differ, and ValueError for a run without two samples.
    """
    cuts = _Cuts(assembly.rules)
    record = recorded(assembly, drive(OWN), cuts)
    if len(record.ts) < 2:
        raise ValueError("the run has fewer than two samples")
    settings = settings_of(assembly, record)
    rows = {OWN: record}
    if settings.begins:
        rows |= {
            benchmark.name: benchmark_record(benchmark, settings, drive(benchmark.name)) for benchmark in benchmarks
        }
    keys = limits_on(assembly.rules)
    names = (*keys, EVERY_LIMIT) if len(keys) > 1 else tuple(keys)
    records_without: dict[str, Record] = {}
    looks = [_look(assembly, record, family)]
    for name in names:
        variant = _fresh(assembly, tuple(keys) if name == EVERY_LIMIT else (name,))
        records_without[name] = recorded(variant, drive(f"without {name}"))
        looks.append(_look(assembly, records_without[name], family, name))
    noted = [look for look in looks if look is not None]
    known_trials = try_note_looks(state, noted) if noted else Known(fault="no run has a ratio")
    policies = {OWN: assembly.policies, **{benchmark.name: benchmark.assembly.policies for benchmark in benchmarks}}
    seen = _Seen(assembly, policies, rows, records_without, keys, cuts)
    texts = [
        f"{name}: {failure.text}"
        for name, row_record in rows.items()
        for failure in _failures(assembly, name, row_record)
    ]
    return Crises(
        run=assembly.config.quantd.name,
        first=_date(record, 0),
        last=_date(record, -1),
        first_fill=max((row_record.first_fill for row_record in rows.values()), default=""),
        crises=tuple(seen.crisis(period) for period in (*PERIODS, *windows)),
        limits=tuple(seen.effects(0, len(record.ts) - 1)),
        always=tuple(key for key, limit in LIMITS.items() if limit.always and limit.configured),
        known=known_trials.like(noted[0]) if noted else known_trials,
        benchmark_limits={benchmark.name: benchmark.limits for benchmark in benchmarks},
        failures=tuple(texts),
        notes=tuple(filter(None, (synthetic_note(assembly.universe.symbols), OWN_CLOSES if record.own_closes else ""))),
    )


def document(study_result: Crises) -> dict[str, object]:
    """Return the result as JSON, with the number of trials in place of the looks."""
    encoded = {name: getattr(study_result, name) for name in study_result.__struct_fields__ if name != "known"}
    crises = [{**msgspec.to_builtins(crisis), "in_sample": crisis.in_sample} for crisis in study_result.crises]
    return {**encoded, "crises": crises, **study_result.known.document}


def limits_on(rules: Rules) -> dict[str, tuple[str, ...]]:
    """Return the limits that a run can leave out and that are on, each with the books that have it."""
    off = Limits()
    holders = {
        key: tuple(
            name
            for name, limits in (("house", rules.house), *((agent.name, agent.limits) for agent in rules.agents))
            if value_of(limits, key) != value_of(off, key)
        )
        for key, limit in LIMITS.items()
        if limit.configured and not limit.always and limit.section != "alerts"  # an alert changes no order
    }
    if rules.regime is not None:
        holders[REGIME] = ("house",)
    return {key: where for key, where in holders.items() if where}


def without(rules: Rules, keys: Sequence[str]) -> Rules:
    """Return the rules without these limits, in the house and in every agent. The lookbacks stay."""
    off = {key: value_of(Limits(), key) if key in FIELDS else None for key in keys if key != REGIME}
    agents = tuple(msgspec.structs.replace(agent, limits=override(agent.limits, **off)) for agent in rules.agents)
    remaining_rules = msgspec.structs.replace(rules, house=override(rules.house, **off), agents=agents)
    return msgspec.structs.replace(remaining_rules, regime=None) if REGIME in keys else remaining_rules


def _fresh(assembly: Assembly, keys: Sequence[str]) -> Assembly:
    """Return the same run with new policies, without these limits."""
    variant = reassemble(assembly, assembly.config)
    assert variant is not None  # the configuration is its own
    return replace(variant, rules=without(assembly.rules, keys))


def _look(assembly: Assembly, record: Record, family: str, left_out: str = "") -> Look | None:
    """Return the look of a finished run; None for one without a ratio, such as a lost account."""
    periods = samples_a_year(assembly)
    try:
        ratio = performance_of(record, periods, assembly.risk_free_annual(record.days_ns, periods)).sharpe
    except ValueError:
        return None
    if not isfinite(ratio):
        return None
    values = {"without": left_out} if left_out else {}
    look = look_of(assembly, record.ts, ratio, periods, "study", family, values)
    if not left_out:
        return look
    # the configuration is that of the run, and the limit that is left out makes it another trial
    digest = blake2b(f"{look.digest} without {left_out}".encode(), digest_size=16).hexdigest()
    return msgspec.structs.replace(look, digest=digest)


def _failures(assembly: Assembly, name: str, record: Record) -> Sequence[AgentFailures]:
    return record.failures.of(assembly.rules.names() if name == OWN else (name,))


def _date(record: Record, at: int) -> str:
    return session_date(record.days_ns[at]).isoformat()


class _Cuts:
    """A log that counts orders cut by each limit, and stops of the switches, by time."""

    rows_only: bool = False

    def __init__(self, rules: Rules) -> None:
        self.found: list[tuple[int, Counter[str]]] = []
        self._keys = np.array([LIMIT_OF.get(code, "") for code in range(128)])

    def answer(self, ask: Ask) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Planned):
                codes = np.frombuffer(effect.reason + b"".join(agent.reason for agent in effect.agents), dtype=np.int8)
                if codes.any():
                    self.found.append((effect.ts, Counter(self._keys[codes[codes > 0]].tolist())))
            elif isinstance(effect, Switched) and effect.after > effect.before:
                self.found.append((effect.ts, Counter((f"max_{effect.reason}",))))

    def between(self, first: int, last: int) -> Counter[str]:
        """Return the count by limit in [first, last)."""
        return sum((counts for ts, counts in self.found if first <= ts < last), Counter[str]())


@dataclass(frozen=True, slots=True)
class _Seen:
    """All finished runs, on the samples of the first one."""

    assembly: Assembly
    policies: Mapping[str, Sequence[Policy]]
    rows: Mapping[str, Record]
    others: Mapping[str, Record]
    keys: Mapping[str, tuple[str, ...]]
    cuts: _Cuts
    own: Record = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", self.rows[OWN])

    def crisis(self, period: Period) -> Crisis:
        """Measure one period from the last sample before it, or before the last first fill of any row."""
        days = np.asarray(self.own.days_ns) // DAY_NS
        since, until = ((day - date(1970, 1, 1)).days for day in (period.first, period.last))
        empty = Crisis(period.name, (period.first.isoformat(), period.last.isoformat()))
        start, stop = int(np.searchsorted(days, since)), int(np.searchsorted(days, until, side="right")) - 1
        if stop < start:
            span = f"the samples of this run are {_date(self.own, 0)} to {_date(self.own, -1)}"
            return msgspec.structs.replace(empty, missing=f"no bars: {span}")
        base = max(start - 1, self._opened())
        if base >= stop:
            fill = max((record.first_fill for record in self.rows.values()), default="")
            text = f"nothing was traded before its end: the last first fill is on {fill}" if fill else "nothing traded"
            return msgspec.structs.replace(empty, missing=text)
        return msgspec.structs.replace(
            empty,
            first=_date(self.own, base + 1),
            last=_date(self.own, stop),
            samples=stop - base,
            partial="; ".join(self._parts(period, start, base, stop)),
            rows=tuple(self._row(name, record, base, stop) for name, record in self.rows.items()),
            limits=tuple(self.effects(base, stop)),
        )

    def _opened(self) -> int:
        """Return the last sample before every row with fills has its first; -1 where none has any."""
        fills = [record.fill_columns[0].ts for record in self.rows.values() if record.fill_columns]
        return max(int(np.searchsorted(np.asarray(self.own.ts), max(fills), side="left")) - 1, 0) if fills else -1

    def _parts(self, period: Period, start: int, base: int, stop: int) -> Iterator[str]:
        """Yield the parts of a period that are not measured."""
        if base >= start:
            why = "the first fill" if base > 0 else "the first sample"
            if session_date(self.own.days_ns[base + 1]) - period.first > PAUSE:
                yield f"from {_date(self.own, base + 1)} on: {why}"
        if stop == len(self.own.ts) - 1 and period.last - session_date(self.own.days_ns[stop]) > PAUSE:
            yield f"until {_date(self.own, stop)}: the last sample"

    def _row(self, name: str, record: Record, base: int, stop: int) -> Row:
        worth = np.array(record.equity_micro, dtype=np.float64)
        inside = worth[base : stop + 1]
        fallen = 1.0 - inside / np.maximum.accumulate(inside)
        low = base + int(np.argmax(fallen))
        recovered: int | None = None
        if fallen.max() > LEVEL:
            later = np.flatnonzero(worth[low:] >= inside[: low - base + 1].max())
            recovered = low + int(later[0]) if len(later) else None
        fell = bool(fallen.max() > LEVEL)
        failures = _failures(self.assembly, name, record)
        return Row(
            policy=name,
            total_return=float(inside[-1] / inside[0] - 1.0),
            gain=(record.equity_micro[stop] - record.equity_micro[base]) / MICRO,
            max_drawdown=float(fallen.max()),
            low=_date(record, low) if fell else "",
            recovered=_date(record, recovered) if recovered is not None else "",
            recovery_days=(record.days_ns[recovered] - record.days_ns[low]) // DAY_NS
            if recovered is not None
            else None,
            trained=self._trained(name, base, stop),
            failed="; ".join(failure.text for failure in failures),
        )

    def _trained(self, name: str, base: int, stop: int) -> int:
        """Return the measured samples inside the training window of any policy of a row."""
        until = [getattr(leaf, "trained_until_ns", 0) for policy in self.policies[name] for leaf in leaves(policy)]
        return int(np.sum(np.asarray(self.own.ts[base + 1 : stop + 1]) <= max(until, default=0)))

    def effects(self, base: int, stop: int) -> Iterator[LimitEffect]:
        """Yield the effect of each limit between two samples."""
        counts = self.cuts.between(self.own.ts[base], self.own.ts[stop])
        for name, other in self.others.items():
            both = [np.array(record.equity_micro[base : stop + 1], dtype=np.int64) for record in (self.own, other)]
            gained, grown = (
                [equity[-1] - equity[0] for equity in both],
                [equity[-1] / equity[0] - 1.0 for equity in both],
            )
            fallen = [float((1.0 - equity / np.maximum.accumulate(equity)).max()) for equity in both]
            everything = name == EVERY_LIMIT
            yield LimitEffect(
                limit=name,
                where=() if everything else self.keys[name],
                cuts=sum(counts[key] for key in self.keys) if everything else counts[name],
                gain=float(gained[0] - gained[1]) / MICRO,
                total_return=float(grown[0] - grown[1]),
                max_drawdown=fallen[0] - fallen[1],
                before=float(both[0][0] - both[1][0]) / MICRO,
                same=bool((np.diff(both[0]) == np.diff(both[1])).all()),
                failed="; ".join(failure.text for failure in other.failures.of(self.assembly.rules.names())),
            )

"""Measures a run in named crises, compared with its benchmarks, and the effect in money of each risk limit.

The account is run once over the whole market, and a crisis is a window of that run. The effect of a limit is the
difference to a second run without this limit, in the whole account and for every agent.

What can go wrong: the effect of a limit before a crisis counts as its effect in the crisis. Both runs start at the same
sample, so their accounts may already differ at the start of the crisis. `LimitEffect.before` is that difference. Where
the account is the same without a limit, a limit with cuts is redundant, and a limit without cuts was never binding.

Each run without a limit is a trial. All these trials are added to the ledger of looks before the trials are counted.
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
from quantd.daemon.runtime.step_log import Unanswered
from quantd.research.runs.benchmark_runs import Benchmark, benchmark_record
from quantd.research.runs.comparison import Drive, performance_of, recorded, samples_a_year, settings_of
from quantd.research.runs.failures import AgentFailures
from quantd.research.runs.looks import look_of, try_note_looks
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Known, Look
from quantd.risk.limits.catalogue import FIELDS, LIMIT_OF, LIMITS, Limits, override, value_of
from quantd.trading.display_text import session_date
from quantd.trading.effects import Effect, Planned, Switched
from quantd.trading.events import Event
from quantd.trading.instruments import MICRO, last_prices_note, synthetic_note
from quantd.trading.ports import Policy, leaves
from quantd.trading.sessions import DAY_NS


class Period(Struct, frozen=True):
    """A named period, which includes its first and its last date."""

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
"""Name of the studied run in the tables; its benchmarks have their own names."""

EVERY_LIMIT: Final = "all of these"
"""Name of the variant without any of the limits."""

REGIME: Final = "volatile_exposure"
"""The limit of [risk.regime], which is not a field of `Limits`."""

PAUSE: Final = timedelta(days=4)
"""The longest time without a session: a weekend with holidays on both sides. After a longer gap, bars are missing."""

LEVEL: Final = 1e-12
"""A drawdown up to this fraction is rounding, and counts as none."""


class Row(Struct, frozen=True):
    """One account in one period. `gain` is in account currency; fractions are not percent.

    `low` is the date of the largest drawdown. `recovered` is the first date on which the account was worth as much as
    at the high before `low`; it is empty where this never happened. `recovery_days` are the calendar days from `low` to
    `recovered`. `trained` counts the samples inside the training window of the policy. `failed` describes the decisions
    that the policy failed to take.
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

    `where` names the accounts that have the limit: "house" (the whole account) or an agent. `cuts` counts the orders,
    of the agents and of the whole account, that this limit cut or refused, and the stops of trading that it caused.
    `gain` is the difference in money, positive where the limit earned. `total_return` is the difference of the returns.
    `max_drawdown` is the difference of the drawdowns, negative where the limit made it smaller. `before` is the
    difference in money between the two accounts at the start. `same` is True where both accounts moved by the same
    amount at each sample.
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
        """A text that says whether the limit changed the account."""
        if self.failed:
            return f"no figure: without it {self.failed}"
        if self.same:
            return "redundant: without it the account is the same" if self.cuts else "never binding"
        return "binding" if self.cuts or not self.before else "no cut here; the accounts differed before"


class Crisis(Struct, frozen=True):
    """One period: a row of figures for each account, and the effect of each limit, or in `missing` why there are none.

    `period` has its first and last date, `first` and `last` are the dates of the first and the last measured sample.
    `partial` says from or until which date the period is measured, where it is not measured in full.
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
        """True if a sample of this run lies inside the training window of its policies."""
        return any(row.trained for row in self.rows if row.policy == OWN)


class Crises(Struct, frozen=True):
    """The result of the study of crises.

    `limits` are the effects of the limits over the whole run. `always` names the limits that the study never leaves
    out. `known` are the trials of the market, and `benchmark_limits` describes the limits of each benchmark.
    """

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

    `drive(name)` returns the function that drives the run of this name. The run, and each run without a limit, is noted
    as a trial in the folder `state`, in `family` if it is named. Raises Incomparable when the settings of a benchmark
    differ, and ValueError for a run with fewer than two samples.
    """
    cut_log = _CutLog(assembly.rules)  # notes when each limit cut an order or caused a stop
    record = recorded(assembly, drive(OWN), cut_log)
    if len(record.ts) < 2:
        raise ValueError("the run has fewer than two samples; give more bars, or an earlier feed.start")
    settings = settings_of(assembly, record)
    records_by_name = {OWN: record}
    if settings.begins:
        records_by_name |= {
            benchmark.name: benchmark_record(benchmark, settings, drive(benchmark.name)) for benchmark in benchmarks
        }
    keys = limits_on(assembly.rules)
    names = (*keys, EVERY_LIMIT) if len(keys) > 1 else tuple(keys)
    records_without: dict[str, Record] = {}
    looks = [_look(assembly, record, family)]
    for name in names:
        variant = _variant(assembly, tuple(keys) if name == EVERY_LIMIT else (name,))
        records_without[name] = recorded(variant, drive(f"without {name}"))
        looks.append(_look(assembly, records_without[name], family, name))
    noted = [look for look in looks if look is not None]
    known_trials = try_note_looks(state, noted) if noted else Known(fault="no run has a ratio")
    policies = {OWN: assembly.policies, **{benchmark.name: benchmark.assembly.policies for benchmark in benchmarks}}
    finished = _FinishedRuns(assembly, policies, records_by_name, records_without, keys, cut_log)
    failure_texts = [
        f"{name}: {failure.text}"
        for name, row_record in records_by_name.items()
        for failure in _failures(assembly, name, row_record)
    ]
    return Crises(
        run=assembly.config.quantd.name,
        first=_date(record, 0),
        last=_date(record, -1),
        first_fill=max((row_record.first_fill for row_record in records_by_name.values()), default=""),
        crises=tuple(finished.crisis(period) for period in (*PERIODS, *windows)),
        limits=tuple(finished.effects(0, len(record.ts) - 1)),
        always=tuple(key for key, limit in LIMITS.items() if limit.always and limit.configured),
        known=known_trials.like(noted[0]) if noted else known_trials,
        benchmark_limits={benchmark.name: benchmark.limits for benchmark in benchmarks},
        failures=tuple(failure_texts),
        notes=tuple(filter(None, (synthetic_note(assembly.universe.symbols), last_prices_note(assembly.universe)))),
    )


def document(study_result: Crises) -> dict[str, object]:
    """Return the study as a JSON document, with the number of trials in place of the list of looks."""
    encoded = {name: getattr(study_result, name) for name in study_result.__struct_fields__ if name != "known"}
    crises = [{**msgspec.to_builtins(crisis), "in_sample": crisis.in_sample} for crisis in study_result.crises]
    return {**encoded, "crises": crises, **study_result.known.document}


def limits_on(rules: Rules) -> dict[str, tuple[str, ...]]:
    """Return the key of each limit that is on and can be left out, with the accounts that have it.

    An account is "house" (the whole account) or an agent's name.
    """
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
    return {key: names for key, names in holders.items() if names}


def without(rules: Rules, keys: Sequence[str]) -> Rules:
    """Return the rules without the limits `keys`, in the whole account and in every agent.

    Lookbacks are unchanged, so that the run begins at the same sample.
    """
    off = {key: value_of(Limits(), key) if key in FIELDS else None for key in keys if key != REGIME}
    agents = tuple(msgspec.structs.replace(agent, limits=override(agent.limits, **off)) for agent in rules.agents)
    remaining_rules = msgspec.structs.replace(rules, house=override(rules.house, **off), agents=agents)
    return msgspec.structs.replace(remaining_rules, regime=None) if REGIME in keys else remaining_rules


def _variant(assembly: Assembly, keys: Sequence[str]) -> Assembly:
    """Return the parts of the same run without the limits `keys`.

    The policies are freshly loaded, because the policies of the finished run may have state.
    """
    variant = reassemble(assembly, assembly.config)
    assert variant is not None  # None only for a configuration of another market
    return replace(variant, rules=without(assembly.rules, keys))


def _look(assembly: Assembly, record: Record, family: str, left_out: str = "") -> Look | None:
    """Return a finished run as a look (entry of the ledger of evaluations); None where it has no Sharpe ratio, for
    example because the account was lost.

    `left_out` is the limit that was left out of the run.
    """
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
    # the configuration is the same as of the full run, so the limit that is left out must distinguish the trial
    digest = blake2b(f"{look.digest} without {left_out}".encode(), digest_size=16).hexdigest()
    return msgspec.structs.replace(look, digest=digest)


def _failures(assembly: Assembly, name: str, record: Record) -> Sequence[AgentFailures]:
    return record.failures.of(assembly.rules.names() if name == OWN else (name,))


def _date(record: Record, row: int) -> str:
    """Return the session date of the sample at an index; -1 is the last sample."""
    return session_date(record.days_ns[row]).isoformat()


class _CutLog(Unanswered):
    """A log of the orders that limits cut or refused, and of stops: `found` has pairs (ns UTC, count by limit)."""

    def __init__(self, rules: Rules) -> None:
        self.found: list[tuple[int, Counter[str]]] = []
        self._keys = np.array([LIMIT_OF.get(code, "") for code in range(128)])

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Planned):
                codes = np.frombuffer(effect.reason + b"".join(agent.reason for agent in effect.agents), dtype=np.int8)
                if codes.any():
                    self.found.append((effect.ts, Counter(self._keys[codes[codes > 0]].tolist())))
            elif isinstance(effect, Switched) and effect.after > effect.before:
                self.found.append((effect.ts, Counter((f"max_{effect.reason}",))))

    def between(self, first: int, last: int) -> Counter[str]:
        """Return the count by limit from the instant `first` up to, but not including, `last`."""
        return sum((counts for ts, counts in self.found if first <= ts < last), Counter[str]())


@dataclass(frozen=True, slots=True)
class _FinishedRuns:
    """All finished runs of the study, with the same samples.

    `rows` are the records of the run and its benchmarks, `others` the records of the runs without a limit, by the
    limit's name. `keys` has, for each limit, the accounts that have it, and `policies` the policies of each of `rows`.
    """

    assembly: Assembly
    policies: Mapping[str, Sequence[Policy]]
    rows: Mapping[str, Record]
    others: Mapping[str, Record]
    keys: Mapping[str, tuple[str, ...]]
    cuts: _CutLog
    own: Record = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", self.rows[OWN])

    def crisis(self, period: Period) -> Crisis:
        """Measure one period, from the last sample before the period on.

        An account that has not traded yet is not measured. So the measurement starts at the last sample before the
        latest of the accounts' first fills, if this is later.
        """
        days = np.asarray(self.own.days_ns) // DAY_NS
        since, until = ((day - date(1970, 1, 1)).days for day in (period.first, period.last))
        empty = Crisis(period.name, (period.first.isoformat(), period.last.isoformat()))
        start, stop = int(np.searchsorted(days, since)), int(np.searchsorted(days, until, side="right")) - 1
        if stop < start:
            span = f"the samples of this run are {_date(self.own, 0)} to {_date(self.own, -1)}"
            return msgspec.structs.replace(empty, missing=f"no bars: {span}")
        base = max(start - 1, self._opened())
        if base >= stop:
            last_first_fill = max((record.first_fill for record in self.rows.values()), default="")
            text = (
                f"not all rows traded before its end: the last first fill is on {last_first_fill}"
                if last_first_fill
                else "nothing traded"
            )
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
        """Return the index of the last sample before the latest of the accounts' first fills; -1 without a fill."""
        fills = [record.fill_columns[0].ts for record in self.rows.values() if record.fill_columns]
        return max(int(np.searchsorted(np.asarray(self.own.ts), max(fills), side="left")) - 1, 0) if fills else -1

    def _parts(self, period: Period, start: int, base: int, stop: int) -> Iterator[str]:
        """Yield a text where the beginning or the end of a period is not measured.

        `start` and `stop` are the indices of the period's first and last sample, `base` the index of the sample
        before the first measured return.
        """
        # samples of the period before the first measured return are left out
        if base >= start:
            begins_with = "the first fill" if base > 0 else "the first sample"
            if session_date(self.own.days_ns[base + 1]) - period.first > PAUSE:
                yield f"from {_date(self.own, base + 1)} on: {begins_with}"
        if stop == len(self.own.ts) - 1 and period.last - session_date(self.own.days_ns[stop]) > PAUSE:
            yield f"until {_date(self.own, stop)}: the last sample"

    def _row(self, name: str, record: Record, base: int, stop: int) -> Row:
        """Return the figures of one run from the sample with the index `base` to `stop`."""
        worth = record.wealth_micro()
        window_worth = worth[base : stop + 1]
        drawdowns = 1.0 - window_worth / np.maximum.accumulate(window_worth)
        low = base + int(np.argmax(drawdowns))
        recovered: int | None = None
        if drawdowns.max() > LEVEL:
            # the first sample that reaches the high before the low again, also after the period
            later = np.flatnonzero(worth[low:] >= window_worth[: low - base + 1].max())
            recovered = low + int(later[0]) if len(later) else None
        has_drawdown = bool(drawdowns.max() > LEVEL)
        failures = _failures(self.assembly, name, record)
        return Row(
            policy=name,
            total_return=float(window_worth[-1] / window_worth[0] - 1.0),
            gain=record.gain_micro(base, stop) / MICRO,
            max_drawdown=float(drawdowns.max()),
            low=_date(record, low) if has_drawdown else "",
            recovered=_date(record, recovered) if recovered is not None else "",
            recovery_days=(record.days_ns[recovered] - record.days_ns[low]) // DAY_NS
            if recovered is not None
            else None,
            trained=self._trained_samples(name, base, stop),
            failed="; ".join(failure.text for failure in failures),
        )

    def _trained_samples(self, name: str, base: int, stop: int) -> int:
        """Return the number of measured samples inside the training window of any policy of the account `name`."""
        until = [getattr(leaf, "trained_until_ns", 0) for policy in self.policies[name] for leaf in leaves(policy)]
        return int(np.sum(np.asarray(self.own.ts[base + 1 : stop + 1]) <= max(until, default=0)))

    def effects(self, base: int, stop: int) -> Iterator[LimitEffect]:
        """Yield the effect of each limit between the samples at the indices `base` and `stop`."""
        counts = self.cuts.between(self.own.ts[base], self.own.ts[stop])
        for name, other in self.others.items():
            equities = [np.array(record.equity_micro[base : stop + 1], dtype=np.int64) for record in (self.own, other)]
            worths = [record.wealth_micro()[base : stop + 1] for record in (self.own, other)]
            gains, growths = (
                [record.gain_micro(base, stop) for record in (self.own, other)],
                [worth[-1] / worth[0] - 1.0 for worth in worths],
            )
            drawdowns = [float((1.0 - worth / np.maximum.accumulate(worth)).max()) for worth in worths]
            all_limits = name == EVERY_LIMIT
            yield LimitEffect(
                limit=name,
                where=() if all_limits else self.keys[name],
                cuts=sum(counts[key] for key in self.keys) if all_limits else counts[name],
                gain=float(gains[0] - gains[1]) / MICRO,
                total_return=float(growths[0] - growths[1]),
                max_drawdown=drawdowns[0] - drawdowns[1],
                before=float(equities[0][0] - equities[1][0]) / MICRO,  # in money, at the start
                same=bool((np.diff(equities[0]) == np.diff(equities[1])).all()),
                failed="; ".join(failure.text for failure in other.failures.of(self.assembly.rules.names())),
            )

"""Ranks policies by Sharpe ratio: each is backtested alone on the same bars, after costs, and compared with equal
weight.

What can go wrong: the first row of a table is the best of many and is read as a single result. So each row is a trial.
All rows are recorded in the ledger of looks before any ratio is deflated. Otherwise the ratios of the first rows would
not be deflated for the later trials.

Rows whose settings differ are refused, and a policy that failed comes last. Each decision uses only past data, and no
parameter is fitted to the reported period.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Final

from msgspec import Struct

from quantd.daemon.assembly.parts import Assembly
from quantd.research.doubts import Doubt, doubt_lines, lead, named_doubts
from quantd.research.doubts.result_doubts import trained
from quantd.research.runs.comparison import NAME, Drive, alone, min_trade, recorded, require_same
from quantd.research.runs.failures import AgentFailures
from quantd.research.runs.run_record import Counter
from quantd.research.runs.trials import Known, counted
from quantd.research.significance.sharpe_intervals import CONFIDENCE, sharpe_intervals
from quantd.research.verdict import (
    TURNOVER_DEFINITION,
    Difference,
    Figures,
    Measured,
    deflated_of,
    difference_of,
    noted,
)
from quantd.trading.display_text import session_date
from quantd.trading.effects import Publish
from quantd.trading.instruments import last_prices_note
from quantd.trading.ports import Policy
from quantd.trading.statistics import SHARPE_DEFINITION

EVERY: Final[Mapping[str, str]] = {"day": "", "week": "0 16 * * wed", "month": "0 16 15-21 * wed"}
"""Interval -> cron schedule of the decisions after the first sample: each sample (an empty schedule), Wednesdays, the
third Wednesday of a month.

Wednesday avoids two problems of a coin whose bars have the dates of an exchange: an order at the end of a week finds no
bar over the weekend, and the price at the beginning of a week is stale.
"""


class Standing(Struct, frozen=True):
    """One policy's result.

    `difference` is the policy's Sharpe ratio less the ratio of equal weight, with a paired bootstrap interval; None for
    equal weight. `deflated` is the policy's deflated Sharpe ratio. `notes` counts the policy's warnings.
    """

    policy: str
    figures: Figures
    difference: Difference | None
    deflated: float | None
    notes: int
    trained: int = 0
    """Samples inside the policy's training window, whose returns are in-sample."""
    trained_until: str = ""
    failures: tuple[AgentFailures, ...] = ()
    """The decisions that the policy failed to take. With any of them, the figures are no result of the policy."""


class Standings(Struct, frozen=True):
    """The rows, ordered by Sharpe ratio with the failed policies last.

    `every`, the time between decisions, is a key of EVERY, `first` and `last` are the dates of the samples, and
    `trials` is the number of trials of the market, None where it is unknown.
    """

    every: str
    first: str
    last: str
    symbols: tuple[str, ...]
    rows: tuple[Standing, ...]
    trials: int | None
    trials_of: str = ""
    """The market of the trials."""
    withdrawn: int = 0
    """The number of withdrawn trials, which `trials` includes."""
    min_trade: float = 0.0
    """The smallest change of a weight that is traded, in every row."""
    last_prices: str = ""
    """LAST_PRICES, if it applies to the returns."""
    sharpe_definition: str = SHARPE_DEFINITION
    turnover_definition: str = TURNOVER_DEFINITION
    doubts: tuple[Doubt, ...] = ()
    """The reasons to doubt the figures, the heaviest first. A doubt about some rows only names their policies."""
    unknown: str = ""
    """Why the number of trials is unknown, with the remedy; or the number of trials without a recorded market."""


def standings(
    assembly: Assembly, policies: Mapping[str, Policy], state: Path, drive: Callable[[str], Drive],
    every: str = "month", family: str = "",
) -> Standings:  # fmt: skip
    """Run each of `policies` alone over the market of `assembly`, from the first sample on, equal weight included.

    `policies` must contain equal weight; `drive(name)` drives one run. Each run is recorded as a trial in the folder
    `state`. All trials are counted before any ratio is deflated. Raises Incomparable when settings differ.
    """
    measured: dict[str, tuple[Measured, Assembly, int]] = {}  # name -> (figures, parts, number of warnings)
    for name, policy in policies.items():
        policy_assembly = alone(assembly, name, policy, EVERY[every], "America/New_York")  # a cron schedule, its zone
        warnings = Counter(lambda e: isinstance(e, Publish) and e.kind == "policy_note" and e.level == "WARNING")
        record = recorded(policy_assembly, drive(name), warnings)
        measured[name] = (Measured.of(policy_assembly, record), policy_assembly, warnings.count)
    equal_weight = measured[NAME][0]
    known_trials = Known(fault="no run has a ratio")
    for name, (run, policy_assembly, _) in measured.items():
        if isfinite(run.sharpe):
            known_trials = noted(policy_assembly, run, state, "study", family, {"policy": name, "every": every})[0]
    rows = []  # sorted below: the highest ratio first, rows without a ratio and then those with failures last
    for name, (run, _, count) in measured.items():
        require_same(run.settings, equal_weight.settings)
        intervals = sharpe_intervals(
            run.returns, equal_weight.returns,
            periods=run.settings.periods, risk_free_annual=run.risk_free_annual,
        )  # fmt: skip
        difference = None if name == NAME else difference_of(run.sharpe, equal_weight.sharpe, intervals)
        figures = run.figures(intervals.own if intervals else None)
        training_overlap = trained(policies[name], run.record)
        failures = run.record.failures.of((name,))
        deflated = deflated_of(run, known_trials)
        rows.append(
            Standing(
                name, figures, difference, deflated, count, *training_overlap, failures,
            )
        )  # fmt: skip
    rows.sort(key=lambda row: (bool(row.failures), -(row.figures.sharpe if row.figures.sharpe is not None else -9e9)))
    sample_times = equal_weight.record.ts
    return Standings(
        every,
        equal_weight.settings.begins,
        session_date(sample_times[-1]).isoformat(),
        assembly.universe.symbols,
        tuple(rows),
        known_trials.trials,
        known_trials.market,
        known_trials.withdrawn,
        min_trade(assembly),
        last_prices_note(assembly.universe),
        equal_weight.sharpe_definition,
        doubts=named_doubts(
            {
                name: policy_run.doubts(policy_assembly, None if name == NAME else equal_weight)
                for name, (policy_run, policy_assembly, _) in measured.items()
            }
        ),
        unknown=known_trials.text if known_trials.fault else "",
    )


def failure_lines(comparison: Standings) -> list[str]:
    """Return a line for each policy that failed, for the beginning of the output."""
    return [failure.text for row in comparison.rows for failure in row.failures]


def first_lines(comparison: Standings) -> list[str]:
    """Return the lines above the table of policies: the policies that failed, then the worst doubt."""
    return [*failure_lines(comparison), *filter(None, [lead(comparison.doubts)])]


def footnotes(comparison: Standings) -> list[str]:
    """Return the notes below the table of policies."""
    compared_rows = [row for row in comparison.rows if row.difference is not None and not row.failures]
    better = [row for row in compared_rows if row.difference is not None and (row.difference.low or 0.0) > 1e-9]
    count = f"{len(better) or 'none'} of {len(compared_rows)} significantly better than equal weight"
    unknown_text = "trials, whose number is unknown"
    trials_text = (
        unknown_text
        if comparison.trials is None
        else counted(comparison.trials, comparison.trials_of, comparison.withdrawn)
    )
    lines = [
        f"After costs, {count}" + (f": {', '.join(row.policy for row in better)}" if better else ""),
        f"{', '.join(comparison.symbols)}, {comparison.first} to {comparison.last}, decisions at the first sample and "
        f"then every {comparison.every}; each alone, on the same bars, dates, costs, capital and house limits",
        f"weight changes below {comparison.min_trade:.2%} are traded only together (the agents' min_trade)",
        f"[..]: {CONFIDENCE:.0%} of a circular block bootstrap; costs in account currency; deflated: by the "
        f"{trials_text}",
        comparison.sharpe_definition,
        comparison.turnover_definition,
    ]
    if comparison.unknown:
        lines.append(comparison.unknown)
    lines += doubt_lines(comparison.doubts)
    if comparison.last_prices:
        lines.append(comparison.last_prices)
    warned = [f"{row.policy} ({row.notes})" for row in comparison.rows if row.notes]
    if warned:
        lines.append(f"policies with warnings (number): {', '.join(warned)}")
    if any(row.trained for row in comparison.rows):
        lines.append("* in-sample")
    return lines

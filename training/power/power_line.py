"""The power line of a plan: the weakest daily signal that could have been seen in its market, and what was found of it.

What can go wrong: "no better than equal weight" is read as a fact about a market in which nobody could have seen more.
So the line stands first on every card, ablation and tuning report. A line fails a training that took an hour; every
fault is a sentence instead. A training waits for its line; all strengths are run in one simulator, and a process
computes a market once.

The prices of a part that is sealed to learners are read for the line, after the last choice. No policy is evaluated for
it, so that it is no look at the test part. A search reads its validation part alone.
"""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from statistics import median
from typing import Final, Literal

import msgspec
from msgspec import Struct

from quantd.bundled import find, placed
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import read_panel
from quantd.models.history.splits import Splits
from quantd.trading.bootstrap import MIN_SAMPLES
from quantd.trading.execution import Costs
from quantd.training.plans.plan import MarketPlan, Plan
from quantd.training.power.attainable import attained
from quantd.training.power.cells import cell_of
from quantd.training.power.findings import SEEDS, Finding, read_findings
from quantd.training.power.plants import Plant, planted

Part = Literal["validation", "test"]

STRENGTHS: Final = (0.05, 0.1, 0.3, 1.0)
"""Information coefficients of the line, the weakest first."""

RECORDED: Final = Path("benchmarks/power/findings.jsonl")
"""Findings of the plans in examples/train, in a checkout."""

REMEMBERED: Final = 16
"""Markets that a process remembers."""

_remembered: OrderedDict[bytes, "Power"] = OrderedDict()


class Power(Struct, frozen=True):
    """The weakest strength that the reference rule earns on one part, by the 95 % interval above equal weight.

    `least` is None where none of STRENGTHS is. `missing` says why nothing was computed.
    """

    first: str
    last: str
    symbols: int
    cost_bp: float
    least: float | None = None
    missing: str = ""

    @property
    def weaker(self) -> float | None:
        """The next weaker strength, which nobody could have seen; None for the weakest."""
        below = [ic for ic in STRENGTHS if self.least is not None and ic < self.least]
        return max(below, default=None)


def recorded_findings() -> list[Finding]:
    """Return the findings of the checkout and of the results folder. Raises FindingsError."""
    added = placed("RESULTS_DIR", "state") / "power" / "findings.jsonl"
    return [*read_findings(find(RECORDED)), *read_findings(added)]


def power_line(plan: Plan, findings: Iterable[Finding] | None = None, part: Part = "test") -> str:
    """Return the power line of a plan, in one or two sentences with figures; a fault is a sentence too.

    `findings` are by default the recorded ones.
    """
    try:
        splits, data = plan.splits, plan.data
        begins = splits.train.first - timedelta(days=plan.warmup_days)
        last = getattr(splits, part).last
        panel = read_panel(*data.files, data.symbols, begins, last, plan.market.cash_rate, data.sources)
        power = power_of(panel, splits, plan.market, part)
        return f"{worded(power)}{_found(plan, power, findings, part)}"
    except Exception as why:  # no fault of a line ends the training that it stands on
        return f"No power was computed: {_reason(why)}."


def market_line(panel: Panel, splits: Splits, of: MarketPlan, part: Part = "test") -> str:
    """Return the line of a market without a plan, whose learner was not measured; a fault is a sentence too."""
    try:
        power = power_of(panel, splits, of, part)
        return worded(power) if power.missing else f"{worded(power)} What its learner finds was not measured."
    except Exception as why:  # no fault of a line ends the training that it stands on
        return f"No power was computed: {_reason(why)}."


def power_of(panel: Panel, splits: Splits, of: MarketPlan, part: Part = "test") -> Power:
    """Return the power on one part of a panel, which begins before the training part. Raises ValueError."""
    judged = getattr(splits, part)
    power = Power(str(judged.first), str(judged.last), len(panel.symbols), one_side_bp(of.costs))
    if len(panel.symbols) < 2:
        return msgspec.structs.replace(power, missing="there is one symbol, so that nothing is chosen")
    train, rows = splits.train.rows(panel.day_ns), judged.rows(panel.day_ns)
    if len(rows) <= MIN_SAMPLES:
        text = f"the {part} part has {len(rows)} sessions, and an interval needs {MIN_SAMPLES + 1}"
        return msgspec.structs.replace(power, missing=text)
    key = _key(panel, splits, of, part)
    if key not in _remembered:
        signals = [planted(Plant(ic=ic), panel, train).expected for ic in STRENGTHS]
        cells = attained(panel, train, rows, signals, of)
        least = next((ic for ic, cell in zip(STRENGTHS, cells, strict=True) if cell.passes), None)
        _remembered[key] = msgspec.structs.replace(power, least=least)
        if len(_remembered) > REMEMBERED:
            _remembered.popitem(last=False)
    return _remembered[key]


def one_side_bp(costs: Costs) -> float:
    """Return the cost of one side of a trade in basis points of the traded value, as `quantd study power` has it."""
    return round(costs.commission_bp + costs.spread_bp / 2.0 + costs.slippage_bp, 9)


def worded(power: Power) -> str:
    """Return the sentence about the market."""
    where = f"{power.first} to {power.last}, {power.symbols} symbols, {power.cost_bp:g} bp a side"
    if power.missing:
        return f"No power was computed for {power.first} to {power.last}: {power.missing}."
    if power.least is None:
        return f"{where}: no daily signal could have been seen here, not even one of IC {STRENGTHS[-1]:g}."
    seen = f"{where}: a daily signal of IC {power.least:g} could have been seen here"
    if power.weaker is None:
        return f"{seen}, the weakest that was tried."
    return f"{seen}; one of {power.weaker:g} could not, whoever looks for it."


def _found(plan: Plan, power: Power, findings: Iterable[Finding] | None, part: Part) -> str:
    """Return the sentence about the learner: its share of the weakest attainable strength that was measured."""
    if power.missing or power.least is None:
        return ""
    try:
        recorded = list(recorded_findings() if findings is None else findings)
    except (ValueError, OSError) as why:
        return f" What {plan.agent} finds is not known: {_reason(why)}."
    for ic in STRENGTHS[STRENGTHS.index(power.least) :]:
        cell = cell_of(plan, "plan", Plant(ic=ic), power.cost_bp)
        shares = {finding.seed: finding.share for finding in recorded if finding.cell == cell}
        measured = [share for share in shares.values() if share is not None]
        if measured:
            count = len(measured)
            seeds = f"median of {count} seeds" if count >= SEEDS else f"{count} of {SEEDS} seeds"
            where = "" if part == "test" else " on the test part"
            return f" {plan.agent} found {median(measured):.0%} of IC {ic:g}{where} ({seeds})."
    return f" What {plan.agent} finds of it was not measured."


def _key(panel: Panel, splits: Splits, of: MarketPlan, part: Part) -> bytes:
    """Return the digest of everything that decides the power of a market."""
    terms = (part, splits, panel.symbols, of.costs, of.capital, of.lots(panel.symbols), of.cash_rate)
    digest = blake2b(msgspec.json.encode(terms), digest_size=16)
    for column in (panel.day_ns, panel.open, panel.close, panel.split, panel.dividend):
        digest.update(column.tobytes())
    if panel.cash_rate is not None:
        digest.update(repr(panel.cash_rate).encode())
    return digest.digest()


def _reason(why: BaseException) -> str:
    """Return the first line of an error's text, or its kind."""
    return (str(why).splitlines() or [type(why).__name__])[0].rstrip(".")

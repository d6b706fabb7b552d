"""The power line of a plan, a sentence: the weakest daily signal that could have been seen in its market, and how much
of it the learner found.

What can go wrong. "No better than equal weight" would be read as a fact about a learner in a market in which nobody
could have seen more: so the power line stands first on every card, ablation and tuning report. A fault of the line
would fail a training that took an hour: so every fault becomes a sentence. A training would wait long for its line: so
all strengths of the signal are run in one simulator, and a process computes each market once.

The line reads the prices of the test part, which learners may not see, after the last choice. No policy is evaluated
for the line, so that the line does not count as an evaluation (a look) on the test part. The line of a hyper-parameter
search reads the validation part instead.
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
"""File of the findings of the plans in examples/train, in a checkout."""

REMEMBERED: Final = 16
"""Number of markets whose power a process remembers."""

_remembered: OrderedDict[bytes, "Power"] = OrderedDict()
"""Digest of a market -> its power."""


class Power(Struct, frozen=True):
    """The weakest strength of a signal at which the reference rule is above equal weight on one part of a market.

    `least` is that strength, by the 95 % interval; None where no strength of STRENGTHS is enough. `missing` is the
    reason why no strength could be computed, else empty. `first` and `last` are the dates of the part.
    """

    first: str
    last: str
    symbols: int
    cost_bp: float
    least: float | None = None
    missing: str = ""

    @property
    def weaker(self) -> float | None:
        """The strength next below `least`, which no rule that was tried could show; None without one."""
        below = [ic for ic in STRENGTHS if self.least is not None and ic < self.least]
        return max(below, default=None)


def recorded_findings() -> list[Finding]:
    """Return the recorded results of power studies, in the checkout and in the results folder. Raises FindingsError."""
    of_this_user = placed("RESULTS_DIR", "state") / "power" / "findings.jsonl"
    return [*read_findings(find(RECORDED)), *read_findings(of_this_user)]


def power_line(plan: Plan, findings: Iterable[Finding] | None = None, part: Part = "test") -> str:
    """Return the power line of a plan, in one or two sentences with figures. A fault becomes a sentence.

    The power line tells the weakest signal that can be seen on `part` of the data. `findings` are by default the
    recorded findings: how much of a planted signal learners found.
    """
    try:
        splits, data = plan.splits, plan.data
        begins = splits.train.first - timedelta(days=plan.warmup_days)
        last = getattr(splits, part).last
        panel = read_panel(*data.files, data.symbols, begins, last, plan.market.cash_rate, data.sources)
        power = power_of(panel, splits, plan.market, part)
        return f"{worded(power)}{_learner_sentence(plan, power, findings, part)}"
    except Exception as why:  # no fault of a line ends the training that it stands on
        return f"No power was computed: {_reason(why)}."


def market_line(panel: Panel, splits: Splits, of: MarketPlan, part: Part = "test") -> str:
    """Return the power line of a market alone, without a plan and thus without a learner.

    A fault becomes a sentence.
    """
    try:
        power = power_of(panel, splits, of, part)
        return worded(power) if power.missing else f"{worded(power)} The share that its learner earns was not measured."
    except Exception as why:  # no fault of a line ends the training that it stands on
        return f"No power was computed: {_reason(why)}."


def power_of(panel: Panel, splits: Splits, of: MarketPlan, part: Part = "test") -> Power:
    """Return the weakest signal that can be seen on one part of a panel, which also has the training part.

    Raises ValueError for unfit data. `of` has costs, capital and lots.
    """
    split = getattr(splits, part)
    power = Power(str(split.first), str(split.last), len(panel.symbols), one_side_bp(of.costs))
    if len(panel.symbols) < 2:
        return msgspec.structs.replace(power, missing="there is one symbol, so that nothing is chosen")
    train, rows = splits.train.rows(panel.day_ns), split.rows(panel.day_ns)
    if len(rows) <= MIN_SAMPLES:
        reason = f"the {part} part has {len(rows)} sessions, and an interval needs {MIN_SAMPLES + 1}"
        return msgspec.structs.replace(power, missing=reason)
    digest = _digest_of(panel, splits, of, part)
    if digest not in _remembered:
        signals = [planted(Plant(ic=ic), panel, train).expected for ic in STRENGTHS]
        cells = attained(panel, train, rows, signals, of)
        weakest_strength = next((ic for ic, cell in zip(STRENGTHS, cells, strict=True) if cell.passes), None)
        _remembered[digest] = msgspec.structs.replace(power, least=weakest_strength)
        if len(_remembered) > REMEMBERED:
            _remembered.popitem(last=False)
    return _remembered[digest]


def one_side_bp(costs: Costs) -> float:
    """Return the cost of one side of a trade in basis points of the traded value, as in `quantd study power`."""
    return round(costs.commission_bp + costs.spread_bp / 2.0 + costs.slippage_bp, 9)


def worded(power: Power) -> str:
    """Return the sentence about the market: the weakest signal with which a rule beats equal weight there, by the whole
    95 % interval, and the next weaker one."""
    market = f"{power.first} to {power.last}, {power.symbols} symbols, {power.cost_bp:g} bp a side"
    if power.missing:
        return f"No power was computed for {power.first} to {power.last}: {power.missing}."
    if power.least is None:
        return f"{market}: with a daily signal no rule beats equal weight, not even with IC {STRENGTHS[-1]:g}."
    visible = f"{market}: with a daily signal of IC {power.least:g} a rule beats equal weight"
    if power.weaker is None:
        return f"{visible}; no weaker signal was tried."
    return f"{visible}, with IC {power.weaker:g} none does."


def _learner_sentence(plan: Plan, power: Power, findings: Iterable[Finding] | None, part: Part) -> str:
    """Return the sentence about the learner, with a space in front: how much of a planted signal the plan's learner
    found.

    A finding is the measured fit of one seed at one strength. Its share is the learner's gain over equal weight,
    divided by the gain of the reference rule. The sentence has the median share of the seeds of this plan, at the
    weakest strength of a signal that could have been seen and for which findings exist. The sentence is empty where no
    strength could have been seen. With `findings` None, the recorded findings are used.
    """
    if power.missing or power.least is None:
        return ""
    try:
        recorded = list(recorded_findings() if findings is None else findings)
    except (ValueError, OSError) as why:
        return f" The share that {plan.agent} earns is not known: {_reason(why)}."
    for ic in STRENGTHS[STRENGTHS.index(power.least) :]:
        cell = cell_of(plan, "plan", Plant(ic=ic), power.cost_bp)  # "plan": the learner of the plan, not the scorer
        share_by_seed = {finding.seed: finding.share for finding in recorded if finding.cell == cell}
        shares = [share for share in share_by_seed.values() if share is not None]
        if shares:
            count = len(shares)
            seeds = f"median of {count} seeds" if count >= SEEDS else f"{count} of {SEEDS} seeds"
            # findings are of the test part: the line of another part has to say so
            where = "" if part == "test" else " on the test part"
            return f" {plan.agent} earned {median(shares):.0%} of the gain at IC {ic:g}{where} ({seeds})."
    return f" The share that {plan.agent} earns was not measured."


def _digest_of(panel: Panel, splits: Splits, of: MarketPlan, part: Part) -> bytes:
    """Return the digest of everything that decides the power of a market."""
    terms = (part, splits, panel.symbols, of.costs, of.capital, of.lots(panel.symbols), of.cash_rate)
    digest = blake2b(msgspec.json.encode(terms), digest_size=16)
    for column in (panel.day_ns, panel.open, panel.close, panel.split, panel.dividend):
        digest.update(column.tobytes())
    if panel.cash_rate is not None:
        digest.update(repr(panel.cash_rate).encode())
    return digest.digest()


def _reason(why: BaseException) -> str:
    """Return the first line of an error's text without its full stop, or the name of its class."""
    return (str(why).splitlines() or [type(why).__name__])[0].rstrip(".")

"""Doubts about a result: in-sample data, foresight, an incredible ratio, cut orders, bad benchmark, survivors, cash."""

from math import inf, isfinite, sqrt
from pathlib import Path
from typing import Final

import numpy as np

from quantd.research.doubts.doubt import Found
from quantd.research.doubts.evidence import Evidence
from quantd.research.doubts.funds import FUNDS
from quantd.research.doubts.price_doubts import ended_symbols
from quantd.research.file_audit import is_in_artifact, opened_at_load
from quantd.research.runs.comparison import NAME
from quantd.research.runs.run_record import Record
from quantd.trading.display_text import session_date, some
from quantd.trading.instruments import MARK, is_pair
from quantd.trading.ports import Policy, leaves
from quantd.trading.statistics import RISK_FREE_ANNUAL

MAX_SHARPE_LONG: Final = 4.0
"""An annual Sharpe ratio above this value is not believable where nothing was sold short.

The best years of broad markets are near 3, and the best funds of the field near 2 over their history.
"""

MAX_SHARPE_SHORT: Final = 5.0
"""The same bound with short positions, which can remove the movement of the market from a result."""

MIN_SAMPLES: Final = 60
"""With fewer samples no Sharpe ratio is judged."""

MATERIAL_CUT: Final = 0.1
"""Missing share of the requested exposure above which a doubt is raised without limits (profile `research`)."""

MATERIAL_CUT_BY_LIMITS: Final = 0.2
"""Missing share of the requested exposure above which a doubt is raised with limits, whose purpose is to cut."""

RUINOUS_LOSS: Final = 0.5
"""A benchmark that loses this share of its capital is ruinous."""

RUINOUS_SHARPE: Final = -0.5
"""A benchmark with a Sharpe ratio below this value over a year or more is ruinous."""

MIN_STOCKS: Final = 5
"""A universe without dates and with at least this number of single stocks may be chosen with hindsight."""

LONG_YEARS: Final = 3.0
"""If all stocks of a universe live for this number of years, they were probably chosen afterwards."""

MIN_CHOSEN: Final = 3
"""With at least this number of single stocks, a ratio of equal weight that chance hardly gives shows a choice."""

CHOSEN_SHARPE: Final = 1.5
"""A Sharpe ratio of equal weight above this, and above CHOSEN_ERRORS standard errors, shows chosen stocks."""

CHOSEN_ERRORS: Final = 3.0

MARKET_SHARPE: Final = 0.5
"""About the Sharpe ratio of a broad market over many years; what equal weight has beyond it is the harm of a choice."""

MOST_OF_VOLUME: Final = 0.1
"""A fill of this share of a bar's volume or more is not tradable at the price of the bar, or was cut to it."""

MOST_DEBIT: Final = 0.05
"""The debit, as a share of equity, that fills at other prices than those of the decision explain."""

MAX_IDLE_CASH: Final = 0.25
"""Average share of cash in equity above which the interest that it does not earn may be material."""

MATERIAL_REDUCTION: Final = 0.1
"""Idle cash is material if the interest that it does not earn lowers the Sharpe ratio by this much or more."""


def trained(policy: Policy, record: Record) -> tuple[int, str]:
    """Return (number of the run's samples in the policy's training window, its last date); (0, "") for none."""
    trained_until_ns = max(int(getattr(leaf, "trained_until_ns", 0)) for leaf in leaves(policy))
    sample_count = int(np.searchsorted(np.asarray(record.ts), trained_until_ns, side="right"))
    return (sample_count, session_date(trained_until_ns).isoformat()) if sample_count else (0, "")


def in_sample(evidence: Evidence) -> str:
    """Samples inside the training window of an artifact that a policy uses."""
    assembly, record, texts = evidence.assembly, evidence.record, []
    # `seats` are the agents, then the shadows, whose decisions are not traded
    count = len(assembly.rules.agents)
    for agent, policy in list(zip(assembly.config.seats, assembly.policies, strict=True))[:count]:
        sample_count, until = trained(policy, record)
        if sample_count:
            # an agent that `comparison.alone` has set up has the name NAME, whatever its policy
            name = agent.policy if agent.name == NAME else agent.name
            texts.append(
                f"in-sample: {sample_count:,} of {len(record.ts):,} samples, until {until}, lie in the training window "
                f"of agent {name}, and its returns there are no result"
            )
    return "; ".join(texts)


def foreknown(evidence: Evidence) -> str:
    """An outside agent that knows the future, as `--rename` found in this run or in an earlier, equal run."""
    return evidence.knows


def opened_files(evidence: Evidence) -> str:
    """A file that a policy opened at its load or while it decided, a program that it started, a host that it called."""
    count = len(evidence.assembly.rules.agents)
    users = [leaf for policy in evidence.assembly.policies[:count] for leaf in leaves(policy)]
    names = dict(evidence.record.opened)
    for leaf in users:
        path = getattr(leaf, "path", None)
        names |= opened_at_load(path) if isinstance(path, Path) else {}
    opened = [name for name in names if not is_in_artifact(name)]
    if not opened:
        return ""
    return (
        f"a policy opened {some(opened)}: nothing shows that it holds only what was known at each sample (quantd study "
        "lookahead)"
    )


def beyond_belief(evidence: Evidence) -> str:
    """An annual Sharpe ratio above 4, or above 5 with short positions, that is as many standard errors above zero."""
    performance, years = evidence.performance, evidence.years
    most_believable = MAX_SHARPE_LONG if evidence.long_only else MAX_SHARPE_SHORT
    # the standard error of an annual ratio is about 1 / sqrt(years) (Lo, 2002), so sqrt(years) x ratio counts them
    if (
        not isfinite(performance.sharpe)
        or performance.samples < MIN_SAMPLES
        or min(1.0, sqrt(years)) * performance.sharpe <= most_believable
    ):
        return ""
    positions = "with long positions only" if evidence.long_only else "with short positions"
    text = f"a Sharpe ratio of {performance.sharpe:.2f} {positions} is not believable"
    equal_weight = evidence.other_performance
    if equal_weight is not None and equal_weight.sharpe > most_believable:
        return (
            f"{text}, and equal weight has {equal_weight.sharpe:.2f}: look for smoothed prices, or for a wrong "
            "risk-free rate"
        )
    return f"{text}: look for look-ahead (quantd study lookahead), and for prices joined on wrong dates"


def cut_sizes(evidence: Evidence) -> str:
    """A tenth of what the policies asked for that was not held, or a fifth with limits, whose purpose is to cut."""
    asked, config = evidence.record.asked, evidence.assembly.config
    missing = asked.asked - asked.held
    profiles = {config.risk.profile, *(agent.profile for agent in config.agents)}
    if missing <= (MATERIAL_CUT if profiles == {"research"} else MATERIAL_CUT_BY_LIMITS) * asked.asked:
        return ""
    has_idle_cash = _idle_reduction(evidence) >= MATERIAL_REDUCTION
    idle_clause = ", and the cash that is left earns no interest" if has_idle_cash else ""
    return f"{missing / asked.asked:.0%} of what the policies asked for was not held{idle_clause}"


def beyond_volume(evidence: Evidence) -> str:
    """A tenth of the traded value, or more, in fills of a tenth of a bar's volume or more, or at the cap on volume."""
    cap = evidence.assembly.costs.participation
    if not evidence.record.fill_columns or cut_sizes(evidence):
        return ""
    least, volume = 0.98 * min(cap or MOST_OF_VOLUME, MOST_OF_VOLUME), evidence.assembly.feed.columns.volume
    traded = traded_large = weighted = 0.0
    for fills in evidence.fills():
        value, of_bar = np.abs(fills.quantity * fills.price), volume[fills.row, fills.column]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.abs(fills.quantity) / of_bar
        large = np.isfinite(part) & (of_bar > 0.0) & (part >= least)
        traded += float(value.sum())
        traded_large += float(value[large].sum())
        weighted += float((part * value)[large].sum())
    share = traded_large / traded if traded > 0.0 else 0.0
    if share < MATERIAL_CUT:
        return ""
    typical = weighted / traded_large
    consequence = (
        f"the rest of such orders is cut ([broker] participation {cap:g})"
        if cap and typical > 0.9 * cap
        else f"[broker] participation {cap:g} allows it, and no market sells that at the price of the bar"
    )
    return (
        f"{share:.0%} of the traded value is in fills of {typical:.0%} of a bar's volume on average: {consequence}, so "
        "the result is not of this policy at this capital"
    )


def borrowed_cash(evidence: Evidence) -> str:
    """Cash below zero by a twentieth of equity or more, though no more than the capital was asked for, all of it long.

    Purchases at the open of a sale count on its proceeds. A sale in a symbol without a bar does not fill.
    """
    asked, low = evidence.record.asked.asked, evidence.cash_share < -MOST_DEBIT
    if not low.any() or asked > 1.0 + MOST_DEBIT or evidence.record.flows or not evidence.long_only:
        return ""
    first = session_date(evidence.record.ts[int(np.flatnonzero(low)[0])] - 1)  # a day may end at midnight
    return (
        f"cash was below zero by up to {-float(evidence.cash_share.min()):.0%} of equity, at {int(low.sum())} samples "
        f"from {first} on: purchases counted on sales that did not fill, and an account without margin refuses them"
    )


def ruinous_benchmark(evidence: Evidence) -> str:
    """Equal weight that lost half of its capital or more, or has a Sharpe ratio below -0.5 over a year or more."""
    equal_weight = evidence.other_performance
    if equal_weight is None:
        return ""
    is_low = isfinite(equal_weight.sharpe) and equal_weight.sharpe < RUINOUS_SHARPE and evidence.years >= 1.0
    if equal_weight.total_return > -RUINOUS_LOSS and not is_low:
        return ""
    return (
        f"equal weight is a ruinous benchmark here ({equal_weight.total_return:+.0%}, Sharpe "
        f"{equal_weight.sharpe:.2f}): to be above it says little"
    )


def survivors(evidence: Evidence) -> str | Found:
    """Single stocks that were chosen afterwards: 5 that all live for 3 years, or 3 whose equal weight is too good.

    Too good is a Sharpe ratio above 1.5 and above three standard errors. A universe with dates (`[universe] members`,
    from when to when a symbol belongs to the universe) is not judged.
    """
    assembly = evidence.assembly
    # coins, funds, indices (^), synthetic symbols (MARK) and futures (=F) are no stocks
    stocks = [
        symbol
        for symbol in assembly.universe.symbols
        if not (is_pair(symbol) or symbol in FUNDS or symbol.startswith(("^", MARK)) or symbol.endswith("=F"))
    ]
    if assembly.members is not None or len(stocks) < MIN_CHOSEN or ended_symbols(evidence):
        return ""
    even = evidence.other_performance
    if (
        even is not None
        and isfinite(even.sharpe)
        and even.sharpe > max(CHOSEN_SHARPE, CHOSEN_ERRORS / sqrt(evidence.years))
    ):
        return Found(
            f"the {len(stocks):,} stocks alone, in equal weight, have a Sharpe ratio of {even.sharpe:.2f} "
            f"({even.annual_return:+.0%} a year): chosen after the fact, about {even.sharpe - MARKET_SHARPE:.2f} of "
            "the ratio comes from the choice ([universe] members gives dates)",
            even.sharpe - MARKET_SHARPE,
        )
    if len(stocks) < MIN_STOCKS or evidence.years < LONG_YEARS:
        return ""
    return (
        f"all {len(stocks):,} stocks live to the end of {evidence.years:.0f} years, and the universe has no dates "
        "([universe] members): chosen afterwards, they are survivors"
    )


def idle_cash(evidence: Evidence) -> str | Found:
    """Cash that earns nothing and lowers the Sharpe ratio by 0.1 or more; it is over a quarter of equity on average.

    The ratio is computed from returns above a risk-free rate, which such cash does not earn. Where `cut_sizes` raises
    its doubt, that doubt mentions the cash, and this one is not raised.
    """
    reduction = _idle_reduction(evidence)
    if reduction < MATERIAL_REDUCTION or cut_sizes(evidence):
        return ""
    idle_share = _idle_share(evidence)
    return Found(
        f"the Sharpe ratio is charged {RISK_FREE_ANNUAL:.0%} a year, while cash earns no interest and is "
        f"{idle_share:.0%} of equity on average: {reduction:.2f} of the ratio ([account] cash_rate)",
        reduction,
    )


def _idle_share(evidence: Evidence) -> float:
    """Return the average share of cash in equity, from 0 to 1."""
    return float(np.clip(evidence.cash_share, 0.0, 1.0).mean())


def _idle_reduction(evidence: Evidence) -> float:
    """Return how much idle cash reduces the Sharpe ratio; 0 where cash earns interest, or is a small part of equity."""
    volatility = evidence.performance.volatility_annual
    if evidence.assembly.cash_rate is not None or _idle_share(evidence) <= MAX_IDLE_CASH or not volatility > 0.0:
        return 0.0
    return _idle_share(evidence) * RISK_FREE_ANNUAL / volatility


def passed_drawdown(evidence: Evidence) -> str:
    """Return a note where the largest drawdown is beyond the limit of the account, or of its only agent: the limit
    stops orders, and sells only where `flatten_on` names that of the account. Empty else."""
    rules, largest = evidence.assembly.rules, evidence.performance.max_drawdown
    of_account = rules.house.max_drawdown
    of_agent = rules.agents[0].limits.max_drawdown if len(rules.agents) == 1 else None
    bound = min((limit for limit in (of_account, of_agent) if limit is not None), default=inf)
    if largest <= 1.1 * bound:  # a limit that is seen at a close is passed by a part of a day's loss
        return ""
    if of_account is not None and "drawdown" in rules.flatten_on:
        sells = "[risk] flatten_on sold at the next prices."
    else:
        sells = 'It sells nothing; [risk] max_drawdown with flatten_on = ["drawdown"] does.'
    again = f" After {rules.rearm_samples} samples trading goes on, and the limit counts from the equity then (rearm)."
    return (
        f"max_drawdown = {bound:g} did not bound the largest drawdown, {largest:.1%}: the limit stops orders that add. "
        f"{sells}{again if rules.rearm_samples else ''}"
    )

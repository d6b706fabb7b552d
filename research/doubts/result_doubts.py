"""Doubts about a result: in-sample, known beforehand, beyond belief, other sizes, benchmark, survivors, rate."""

from math import isfinite, sqrt
from typing import Final

import numpy as np

from quantd.research.doubts.evidence import Evidence
from quantd.research.doubts.funds import FUNDS
from quantd.research.doubts.price_doubts import ended_symbols
from quantd.research.runs.comparison import NAME
from quantd.research.runs.run_record import Record
from quantd.trading.display_text import session_date
from quantd.trading.instruments import MARK, is_pair
from quantd.trading.ports import Policy, leaves
from quantd.trading.statistics import RISK_FREE_ANNUAL

MOST_LONG: Final = 4.0
"""An annual Sharpe ratio above this is not believable where nothing was sold short.

The best years of broad markets are near 3, and the best funds of the field near 2 over their history.
"""

MOST_SHORT: Final = 5.0
"""The same with short positions, which can take the market out of a result."""

FEWEST: Final = 60
"""Samples below which no ratio is judged."""

CUT: Final = 0.1
"""Share of the requested exposure whose absence is material where no limits are configured (profile `research`)."""

CUT_BY_LIMITS: Final = 0.2
"""The same where limits are configured, whose cuts are their purpose."""

FOLLOWED: Final = 5
"""Samples after a decision, at most, in which its orders may fill."""

RUINED: Final = 0.5
"""Share of its capital whose loss makes a benchmark ruinous."""

NEGATIVE: Final = -0.5
"""A Sharpe ratio below this makes a benchmark ruinous, over a year or more."""

STOCKS: Final = 5
"""Single stocks from which on a universe without dates may be chosen with hindsight."""

LONG_YEARS: Final = 3.0
"""Years over which all stocks of a universe live only where they were chosen after it."""

IDLE: Final = 0.25
"""Average share of cash in equity above which the rate that it does not earn may be material."""

CHARGED: Final = 0.1
"""Change of the Sharpe ratio by that rate from which on it is material."""


def trained(policy: Policy, record: Record) -> tuple[int, str]:
    """Return (samples of the run inside the policy's training window, the window's last date); (0, "") for none."""
    until = max(int(getattr(leaf, "trained_until_ns", 0)) for leaf in leaves(policy))
    seen = int(np.searchsorted(np.asarray(record.ts), until, side="right"))
    return (seen, session_date(until).isoformat()) if seen else (0, "")


def in_sample(evidence: Evidence) -> str:
    """Samples inside the training window of an artifact that a policy uses."""
    assembly, record, texts = evidence.assembly, evidence.record, []
    count = len(assembly.rules.agents)
    for agent, policy in list(zip(assembly.config.seats, assembly.policies, strict=True))[:count]:
        sample_count, until = trained(policy, record)
        if sample_count:
            name = agent.policy if agent.name == NAME else agent.name
            texts.append(
                f"in-sample: {sample_count:,} of {len(record.ts):,} samples, until {until}, lie in the training window "
                f"of agent {name}, and its returns there are no result"
            )
    return "; ".join(texts)


def foreknown(evidence: Evidence) -> str:
    """An outside agent that `--rename` named as one that knows the future, in this run or in an earlier one of it."""
    return evidence.knows


def beyond_belief(evidence: Evidence) -> str:
    """An annual Sharpe ratio above 4, or above 5 with short positions, that is as many standard errors above zero."""
    performance, years = evidence.performance, evidence.years
    most = MOST_LONG if evidence.long_only else MOST_SHORT
    # the standard error of an annual ratio is about 1 / sqrt(years) (Lo, 2002)
    if (
        not isfinite(performance.sharpe)
        or performance.samples < FEWEST
        or min(1.0, sqrt(years)) * performance.sharpe <= most
    ):
        return ""
    what = "with long positions only" if evidence.long_only else "with short positions"
    text = f"a Sharpe ratio of {performance.sharpe:.2f} {what} is not believable"
    beside = evidence.other_performance
    if beside is not None and beside.sharpe > most:
        return f"{text}, and equal weight has {beside.sharpe:.2f}: look for smoothed prices, or for the rate"
    return f"{text}: look for look-ahead (quantd study lookahead), and for prices joined on other dates"


def cut_sizes(evidence: Evidence) -> str:
    """Exposure that policies requested and a run did not get, by cash, lots, limits or the volume of bars."""
    record, assembly = evidence.record, evidence.assembly
    rows, requested = evidence.requested
    if not len(rows):
        return ""
    gross = np.asarray(record.gross)
    ends = np.minimum(np.append(rows[1:], len(gross) - 1), rows + FOLLOWED)
    got = np.zeros(len(rows))
    for k in range(1, FOLLOWED + 1):
        at = np.minimum(rows + k, len(gross) - 1)
        open_ = (rows + k <= ends) & (rows + k < len(gross))
        got = np.where(open_, np.maximum(got, gross[at]), got)
    followed = ends > rows
    requested, got = requested[followed], got[followed]
    asked = float(requested.sum())
    missed = float(np.maximum(requested - got, 0.0).sum())
    profiles = {assembly.config.risk.profile, *(agent.profile for agent in assembly.config.agents)}
    if not len(got) or missed <= (CUT if profiles == {"research"} else CUT_BY_LIMITS) * asked:
        return ""
    idle = ", and the cash that is left earns none" if _charge(evidence) >= CHARGED else ""
    return (
        f"the policies asked for {float(requested.mean()):.2f} of equity on average and got "
        f"{float(np.minimum(got, requested).mean()):.2f} "
        f"(cash, lots, limits or the volume of the bars cut the rest{idle})"
    )


def ruinous_benchmark(evidence: Evidence) -> str:
    """Equal weight beside the run that lost more than half, or has a Sharpe ratio below -0.5 over a year."""
    beside = evidence.other_performance
    if beside is None:
        return ""
    low = isfinite(beside.sharpe) and beside.sharpe < NEGATIVE and evidence.years >= 1.0
    if beside.total_return > -RUINED and not low:
        return ""
    return (
        f"equal weight is a ruinous benchmark here ({beside.total_return:+.0%}, Sharpe {beside.sharpe:.2f}): to be "
        "above it says little"
    )


def survivors(evidence: Evidence) -> str:
    """Five single stocks or more that all live to the end of three years or more, in a universe without dates."""
    assembly = evidence.assembly
    stocks = [
        symbol
        for symbol in assembly.universe.symbols
        if not (is_pair(symbol) or symbol in FUNDS or symbol.startswith(("^", MARK)) or symbol.endswith("=F"))
    ]
    if assembly.members is not None or len(stocks) < STOCKS or evidence.years < LONG_YEARS or ended_symbols(evidence):
        return ""
    return (
        f"all {len(stocks):,} stocks live to the end of {evidence.years:.0f} years, and the universe has no dates "
        "([universe] members): chosen afterwards, they are survivors"
    )


def idle_cash(evidence: Evidence) -> str:
    """The rate that the Sharpe ratio is charged, while cash above a quarter of equity earns none; by 0.1 or more.

    Where the size of the run was cut, the cash is a part of that doubt.
    """
    charge = _charge(evidence)
    if charge < CHARGED or cut_sizes(evidence):
        return ""
    share = _idle(evidence)
    return (
        f"the Sharpe ratio is charged {RISK_FREE_ANNUAL:.0%} a year, while cash earns none and is {share:.0%} of "
        f"equity on average: {charge:.2f} of the ratio ([account] cash_rate)"
    )


def _idle(evidence: Evidence) -> float:
    """The average share of cash in equity."""
    return float(np.clip(evidence.cash_share, 0.0, 1.0).mean())


def _charge(evidence: Evidence) -> float:
    """The part of the Sharpe ratio by which cash that earns nothing is charged; 0 where it earns, or is little."""
    volatility = evidence.performance.volatility_annual
    if evidence.assembly.cash_rate is not None or _idle(evidence) <= IDLE or not volatility > 0.0:
        return 0.0
    return _idle(evidence) * RISK_FREE_ANNUAL / volatility

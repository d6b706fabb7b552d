"""Notices about performance, models, correlations and rebalances, as [alerts.notices] requests them.

Notices are alerts only: no order and no limit depends on them. Backtests have no notices.
"""

from collections.abc import Sequence
from math import isnan, log1p, sqrt
from typing import Final

import numpy as np

from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.settings import Notices
from quantd.trading.effects import Effect, Planned
from quantd.trading.events import Proposed
from quantd.trading.orders import OrderBasket
from quantd.trading.statistics import PERIODS_PER_YEAR, sum_in_order

SHORT: Final = 20
"""Number of samples of the present correlation."""

LONG: Final = 120
"""Number of samples of the usual correlation, with which the present one is compared."""

SURE: Final = 1.645
"""Number of standard errors below the expected Sharpe ratio: 5 % one-sided under the normal distribution."""


def notices(state: State) -> list[Effect]:
    """The notices at a sample: milestones, policies that are worse than in their test, and correlations that
    changed."""
    rules = state.rules.notices
    if rules is None:
        return []
    return [*_milestone(state, rules), *_decay(state, rules), *_correlation(state, rules)]


@idle_when(lambda state: True)  # the fold's records call it after a plan
def note_rebalances(state: State, event: object, effects_so_far: Sequence[Effect]) -> Sequence[Effect]:
    """Return the effects `effects_so_far` of an event, and a notice where a plan among them sent orders.

    An order that somebody asked for is no rebalance: its sender knows of it.
    """
    rules = state.rules.notices
    if isinstance(event, Proposed) and event.orders:
        return effects_so_far
    if rules is None or not rules.rebalances or not any(isinstance(effect, Planned) for effect in effects_so_far):
        return effects_so_far
    baskets = [effect for effect in effects_so_far if isinstance(effect, OrderBasket) and not effect.stop_nano]
    orders = sum(len(basket.sym) for basket in baskets)
    if not orders:
        return effects_so_far
    values = state.lot_values()
    value = sum_in_order(
        abs(lots) * float(values[symbol])
        for basket in baskets
        for symbol, lots in zip(basket.sym, basket.lots, strict=True)
    )
    share = value * 1e6 / state.equity_micro if state.equity_micro > 0 else 0.0
    text = f"rebalance: {orders} order{'s' if orders > 1 else ''} worth {share:.1%} of equity"
    return [*effects_so_far, alert(state, "INFO", "rebalance", text, value=share)]


def _milestone(state: State, rules: Notices) -> list[Effect]:
    """A notice each time that the equity of the whole account, without deposits and withdrawals, has grown
    by the factor 1 + milestone again."""
    if not rules.milestone:
        return []
    growth = state.watch.realised[0].grown(state.equity_micro, state.ledger.house.flows_micro)
    # the small summand prevents the loss of a step by rounding
    steps = int(log1p(growth - 1.0) / log1p(rules.milestone) + 1e-12) if growth > 0.0 else 0
    if steps <= state.noted.milestones:
        return []
    state.noted.milestones = steps
    return [alert(state, "INFO", "milestone", f"the account has grown by {growth - 1.0:.1%}", value=growth - 1.0)]


def _decay(state: State, rules: Notices) -> list[Effect]:
    """Notices about policies whose Sharpe ratio is significantly below the ratio of their test, and about recoveries.

    The ratio is measured over the newest `rules.decay` returns. A policy whose ratio in its test is unknown gets no
    notice. The standard error of a Sharpe ratio is by Lo (2002), for independent returns.
    """
    messages: list[Effect] = []
    if not rules.decay:
        return messages
    for k in state.in_use():
        expected = rules.expected[state.seats[k]] if state.seats[k] < len(rules.expected) else float("nan")
        realised = state.watch.realised[k + 1]
        returns = realised.returns()[-rules.decay :]
        if isnan(expected) or len(returns) < rules.decay:
            continue
        risk_free = np.broadcast_to(realised.risk_free_annual(), len(realised.returns()))[-rules.decay :]
        excess = returns - risk_free / PERIODS_PER_YEAR
        deviation = float(excess.std(ddof=1))
        if deviation <= 0.0:
            continue
        ratio = float(excess.mean()) / deviation
        annual, error = ratio * sqrt(PERIODS_PER_YEAR), sqrt((1.0 + 0.5 * ratio**2) / rules.decay * PERIODS_PER_YEAR)
        below = annual + SURE * error < expected
        if below == (state.seats[k] in state.noted.decayed):
            continue
        text = f"Sharpe ratio over {rules.decay} samples {annual:.2f} ± {error:.2f}, in its test {expected:.2f}"
        if below:
            state.noted.decayed.append(state.seats[k])
            messages.append(alert(state, "WARNING", "decay", text, agent=k, value=annual, bound=expected))
        else:
            state.noted.decayed.remove(state.seats[k])
            messages.append(alert(state, "INFO", "decay", f"no longer significantly below: {text}", agent=k))
    return messages


def _correlation(state: State, rules: Notices) -> list[Effect]:
    """A notice when the mean correlation of the holdings over SHORT samples differs from the mean over LONG samples.

    The notice begins at a difference of [alerts.notices] correlation, and ends below half of it.
    """
    held = np.flatnonzero(state.lots(HOUSE))
    if not rules.correlation or len(held) < 2 or state.history.synchronous.count <= LONG:
        return []
    window = state.history.synchronous.returns(LONG)[:, held]
    window = window[np.isfinite(window).all(axis=1)]
    if len(window) < LONG // 2 or (window[-SHORT:].std(axis=0) <= 0.0).any():
        return []
    off_diagonal = ~np.eye(len(held), dtype=np.bool_)
    present, usual = (
        float(np.atleast_2d(np.corrcoef(part, rowvar=False))[off_diagonal].mean()) for part in (window[-SHORT:], window)
    )
    change = abs(present - usual)
    # no notice begins, or the present one goes on
    if change < rules.correlation if not state.noted.correlation else change >= rules.correlation / 2.0:
        return []
    state.noted.correlation = not state.noted.correlation
    text = f"mean correlation of the holdings {present:.2f} over {SHORT} samples, {usual:.2f} over {LONG}"
    level, text = ("WARNING", text) if state.noted.correlation else ("INFO", f"as usual again: {text}")
    return [alert(state, level, "correlation", text, value=present, bound=usual)]  # type: ignore[arg-type]

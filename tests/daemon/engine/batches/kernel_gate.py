"""The pass of the gate by the kernel of the batches, in place of that of `quantd.risk.pretrade.gate`."""

import numpy as np
from quantd.daemon.engine.batches.gate_inputs import Market
from quantd.daemon.engine.batches.gate_kernel import (
    BASE,
    DONE,
    NEED_LINKS,
    NEED_MATRICES,
    NEED_RETURNS,
    judge,
)
from quantd.trading.jit import interpreted

from quantd.risk.limits.case import Account
from quantd.risk.limits.context import Context, Floats
from quantd.risk.limits.kinds import Refused
from quantd.risk.limits.ruleset import Rules
from quantd.risk.switch import RUN

JUDGE = interpreted(judge)


def kernel_pass(
    ctx: Context, account: Account, asked: Floats, rules: Rules, switch: int, reason: np.ndarray
) -> tuple[Floats, bool]:
    """Signed lots that pass, and whether fewer symbols need a second pass."""
    whole = ctx.whole(rules.lookbacks, rules.limits.min_history)
    market = Market(ctx, rules, whole, whole=whole is not None)
    tables, n = market.tables, rules.size
    work, out = np.empty(tables.length), np.empty(n)
    work[BASE : BASE + n], work[BASE + n : BASE + 2 * n] = asked, account.lots
    work[BASE + 2 * n : BASE + 3 * n] = 0.0 if account.up is None else account.up
    work[BASE + 3 * n : BASE + 4 * n] = 0.0 if account.down is None else account.down
    for k, count in enumerate(rules.counts, tables.rooms_at):
        work[k] = count.most - count.used(account)
    bad = [(place, code, refusal(rules, account, asked)) for place, code, refusal in rules.bars]
    bars = [(place, code, Refused(found, found)) for place, code, found in bad if found is not None]
    given, least = account.open_loss, 0
    while True:
        status = JUDGE(
            work, market.barred(bars) if bars else market.table, tables.numbers, tables.codes, market.returns,
            tables.fixed, market.matrices, market.links, np.empty((6, market.width)), out, reason, int(switch == RUN),
            float(account.cash), float(account.equity), float(account.up_cash), 0.0 if given is None else float(given),
            int(given is None), float(account.open_gain), float(account.traded),
        )  # fmt: skip
        if status == DONE:
            break
        if status == NEED_RETURNS:
            market.add_returns()
        elif status == NEED_MATRICES:
            market.add_matrices()
        elif status == NEED_LINKS:
            market.add_links(out > 0.0)
        else:
            requested = int(np.count_nonzero(out))
            market, gaps = market.with_rows(account.carried(), out)
            least = requested if gaps else 0
    kept = np.count_nonzero((out != 0.0) & (out * account.lots >= 0.0)) if least else 0
    return out, bool(kept < least)

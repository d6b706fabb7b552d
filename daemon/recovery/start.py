"""The first steps of every start, of a run and of a backtest: identity, limits, quarantined bars.

The journal has them in this order:

1. `Started` names run, code, configuration, feed and artifacts; a replay reads the configuration of a segment from it.
   The loaded artifacts are checked before it is stepped, so that a start with another artifact leaves no trace.
2. An alert about faulty prices that nobody has accepted.
3. The limits.
4. The account that is carried over from another run.
5. Alerts about training windows and quarantined bars.
"""

import msgspec

from quantd.adapters.store.journal.quarantine import BadBar
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.config import Config, digest
from quantd.daemon.engine.state.snapshot import in_force
from quantd.daemon.policies.seats import artifacts_in, continuing
from quantd.daemon.recovery.price_acceptance import alert_of, unaccepted
from quantd.daemon.recovery.tightening import Named, change_of_limits, limits_of
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.version import blas_name, code_version, lock_hash
from quantd.trading.display_text import instant_text
from quantd.trading.events import Carried, Condition, Started
from quantd.trading.ports import leaves


def begin(
    shell: Shell,
    parts: Parts,
    config: Config,
    run: str,
    *,
    fresh: bool,
    carried: Carried | None = None,
    before: Named | None = None,
) -> list[BadBar]:
    """Runs the first steps: Started, Reloaded after a change of limits, the carry-over, alerts about bars.

    `fresh` says that the run is new. `carried` is the account that it takes over, `before` the limits of the last live
    or of the carried run, with which a new run is compared. A continued run journals its limits only if they changed.
    Returns the quarantined bars of a new run. Raises PolicyError for a loaded artifact that changed.
    """
    feed = parts.feed if isinstance(parts, Assembly) else None
    now = shell.state.now
    if feed is None:
        now = max(now, parts.start_ns)
    elif fresh:
        now = max(now, feed.first_ts - 1)  # just before the first bar of the recorded market
    loaded = shell.state.loaded
    deciding_artifacts = continuing(parts.config.seats, loaded)
    shell.seats.check(deciding_artifacts)
    artifacts = {a.name: artifacts_in(p) for a, p in zip(parts.config.seats, parts.policies, strict=True)}
    shell.run(
        Started(
            ts=now,
            run=run,
            version=code_version(),
            lock=lock_hash(),
            config=digest(config),
            feed=parts.market,
            symbols=parts.universe.symbols,
            artifacts=artifacts | {name: loaded[name].digest for name in deciding_artifacts},
            blas=blas_name(),
            mode=config.quantd.mode,
            loaded=deciding_artifacts,
        )
    )
    state, changed = shell.state, () if fresh else ("limits",)
    reloaded = change_of_limits(state, parts.rules, now, digest(config), changed, before if fresh else limits_of(state))
    if (not fresh or carried is not None) and (table := unaccepted(parts, config.state_folder(None))):
        shell.run(alert_of(table, now))
    pending_limits = state.loosening.limits if state.loosening is not None else b""
    if fresh or (reloaded.limits, reloaded.later) != (in_force(state.rules), pending_limits):
        shell.run(reloaded)
    if carried is not None:
        shell.run(msgspec.structs.replace(carried, ts=now))
    if fresh:
        _warn_of_training_windows(shell, parts, now)
    if feed is None or not (fresh and feed.quarantined):  # a run that continues has reported its bars before
        return []
    first = feed.quarantined[0]
    text = f"{len(feed.quarantined)} bars were quarantined; the first is {first.symbol}: {first.reason}"
    shell.run(Condition(now, "bars", False, text))  # False: the condition begins
    return [
        BadBar(b.ts, b.symbol, b.reason, f"{b.open} {b.high} {b.low} {b.close} {b.volume}") for b in feed.quarantined
    ]


def _warn_of_training_windows(shell: Shell, parts: Parts, now: int) -> None:
    """Alerts about agents that trade bars on which their policy was trained."""
    for agent, policy in zip(parts.config.seats, shell.seats.all(), strict=True):
        until = max(getattr(leaf, "trained_until_ns", 0) for leaf in leaves(policy))
        if until > parts.start_ns:
            end = instant_text(until)[:10]
            text = f"agent {agent.name} trades bars of its policy's training window, which ends {end}"
            shell.run(Condition(now, "bars", False, text))  # False: the condition begins

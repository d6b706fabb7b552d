"""Limits of a start: a tighter limit applies at once, a looser one only if the start accepts it (`--loosen`).

What can go wrong: a stop, an edit and a start make a limit looser, although a reload refuses it. So a start compares
its limits with the limits in force before, and stops with each limit that is looser: whoever can edit the file is not
thereby the operator. In mode live a looser limit that is accepted applies after a delay, and a new run is compared with
the last live run. Limits are compared by limit and by agent name; a new agent is bounded by the limits of the whole
account. A delay that has begun already is not begun again.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from quantd.daemon.config import Config, Mistake
from quantd.daemon.config.mistakes import shown
from quantd.daemon.engine.safety.devices import DEVICES, is_approval
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.settings import Approvals, MarketRegime, Rules
from quantd.daemon.engine.state.snapshot import InForce, in_force, limits_from, limits_of_snapshot
from quantd.daemon.runtime.loop import RunSnapshot
from quantd.risk.limits.catalogue import EXTRA, FIELDS, LIMITS, Limits, override, tighter_of, value_of
from quantd.trading.events import Reloaded
from quantd.trading.orders import money_text

if TYPE_CHECKING:
    from quantd.adapters.store.handle import Store

Named = tuple[InForce, Sequence[str]]
"""(limits, names of the agents in the order of these limits)."""


def last_live(store: "Store", run: str) -> Named | None:
    """The limits in the newest snapshot of the last run in mode live, `run` excepted; None if there is no such run."""
    for record in reversed(store.runs()):
        limits = stored_limits(store, record.run) if record.run != run else None
        if limits is not None and limits[0].live is not None:
            return limits
    return None


def stored_limits(store: "Store", run: str) -> Named | None:
    """The limits in the newest snapshot of a run; None without a snapshot."""
    newest = store.latest_snapshot(run)
    if newest is None:
        return None
    return limits_of_snapshot(msgspec.msgpack.decode(newest[1], type=RunSnapshot).state), store.run(run).agents


def limits_of(state: State) -> Named:
    return limits_from(in_force(state.rules)), [agent.name for agent in state.rules.agents]


def loosened(before: Named | None, rules: Rules, config: Config, pending: bytes = b"") -> list[Mistake]:
    """A mistake for each limit of `rules`, made from `config`, that is looser than `before` or may be.

    Looser limits that are accepted already, and wait (`pending`), are no mistake.
    """
    new_limits = in_force(rules)
    if before is None or new_limits == pending:
        return []
    after = limits_from(new_limits), [agent.name for agent in rules.agents]
    old, new, places = _values(before), _values(after), [agent.name for agent in config.agents]
    mistakes = []
    for name in tightened(before, after)[1]:
        table, _, key = name.partition(".")
        agent, _, limit = key.rpartition(".") if table == "agents" else ("", "", key)
        limit = "devices" if name.startswith(DEVICES) else limit
        if limit in LIMITS and not LIMITS[limit].configured:  # such as the fee: it describes the venue
            continue
        inner = tuple(limit.removesuffix("_ns").split("."))
        path: tuple[str | int, ...]
        if limit == "devices":
            path = (table, limit)
        elif agent in places and limit == "approval":
            path = ("agents", places.index(agent), limit)
        elif agent in places:
            path = ("agents", places.index(agent), "limits", *inner)
        else:
            path = ("manual" if agent == "manual" else "portfolios", "limits", *inner) if agent else (table, *inner)
        wanted, present = (_text(limit, values.get(name)) for values in (new, old))
        text = f"= {wanted} may be looser than {present}, which is in force in this run"
        mistakes.append(config.source.mistake(path, text, "put that back, or accept it: quantd run --loosen"))
    return mistakes


def _values(named: Named) -> dict[str, Any]:
    """The value of each limit by its dotted name, as `tightened` has it."""
    limits = named[0]
    owners = [("risk", limits.house)]
    owners += [(f"agents.{name}", each) for name, (each, _) in zip(named[1], limits.agents, strict=True)]
    values = {f"{owner}.{name}": value_of(each, name) for owner, each in owners for name in (*FIELDS, *EXTRA)}
    values |= {f"live.{key}": getattr(limits.live, field, None) for key, field in CAPS.items()}
    regime = None if limits.regime is UNSET else limits.regime
    if limits.approvals is not UNSET:
        values |= {f"{DEVICES}{device}": key for device, key in limits.approvals.devices.items()}
        values |= {f"agents.{name}.approval": "device" for name in limits.approvals.agents}
    return values | {
        "risk.flatten_on": limits.flatten_on, "risk.rearm_after": limits.rearm_samples or None, "risk.regime": regime,
    }  # fmt: skip


def _text(limit: str, value: Any) -> str:
    """The value of a limit as text for a message."""
    if value is None or value == ():
        return "off"
    if limit == "loosen_after" or limit.endswith("_ns"):
        return f"{value / 3.6e12:g}h"
    if limit.endswith("_notional"):
        return money_text(value)
    return shown(msgspec.to_builtins(value))


def change_of_limits(
    state: State,
    rules: Rules,
    now: int,
    config: str,
    changed: tuple[str, ...],
    before: Named | None,
    waits: bool = False,
) -> Reloaded:
    """The event of a change from the limits `before` to the limits of `rules` at the instant `now`.

    If the mode is live before and now, the event has the tighter of both values of each limit for now, and the looser
    limits with the instant at which they apply. In other modes it has so only who approves, unless it `waits`, or
    looser limits wait already: those keep their instant. `config` is the digest of the configuration, `changed` has
    the keys that changed. Without `before` nothing is compared.
    """
    new_limits = in_force(rules)
    if before is None:
        return Reloaded(now, config, changed, new_limits)
    after = limits_from(new_limits)
    tight_limits, looser = tightened(before, (after, [agent.name for agent in rules.agents]))
    loosening = state.loosening
    waits = waits or (loosening is not None and not all(map(is_approval, loosening.looser)))
    if not waits and (before[0].live is None or rules.live is None):  # who approves waits in every mode
        tight_limits, looser = replace(after, approvals=tight_limits.approvals), tuple(filter(is_approval, looser))
    if not looser:
        return Reloaded(now, config, changed, new_limits)
    due = (
        loosening.due
        if loosening is not None and loosening.limits == new_limits
        else now + (before[0].live or Allowance()).loosen_after_ns
    )
    return Reloaded(now, config, changed, msgspec.msgpack.encode(tight_limits), new_limits, due, looser)


def tightened(before: Named, after: Named) -> tuple[InForce, tuple[str, ...]]:
    """(`after`, with the value of `before` for each limit that is looser in `after`; dotted names of these limits).

    Fewer reasons to close all positions (`flatten_on`) and an earlier re-arming of the kill switch (`rearm_samples`, 0
    for none) are looser too.
    """
    old, new = before[0], after[0]  # the limits; [1] has the names of their agents
    house, names = _tighter_limits(old.house, new.house)
    looser = [f"risk.{name}" for name in names]
    agents = list(new.agents)
    agents_before = dict(zip(before[1], old.agents, strict=True))
    for k, name in enumerate(after[1]):
        if name in agents_before:  # a new agent has no earlier limits to compare with; those of the house bound it
            limits, names = _tighter_limits(agents_before[name][0], agents[k][0])
            agents[k] = limits, agents[k][1]
            looser += [f"agents.{name}.{key}" for key in names]
    live, names = (new.live, []) if old.live is None or new.live is None else _tighter_caps(old.live, new.live)
    looser += [f"live.{name}" for name in names]
    flatten_on, rearm = new.flatten_on, new.rearm_samples
    if not set(old.flatten_on) <= set(flatten_on):
        flatten_on = tuple(sorted({*old.flatten_on, *flatten_on}))
        looser.append("risk.flatten_on")
    if rearm and (not old.rearm_samples or rearm < old.rearm_samples):
        rearm = old.rearm_samples
        looser.append("risk.rearm_after")
    approvals, names = _tighter_approvals(old.approvals, new, after[1])
    looser += names
    regime = new.regime
    if old.regime is not UNSET and not _tighter_regime(old.regime, regime):
        regime = old.regime
        looser.append("risk.regime")
    return replace(
        new,
        regime=regime,
        approvals=approvals,
        house=house,
        agents=tuple(agents),
        live=live,
        flatten_on=flatten_on,
        rearm_samples=rearm,
    ), tuple(looser)


def _tighter_approvals(
    old: Approvals | UnsetType, new: InForce, agents: Sequence[str]
) -> tuple[Approvals | UnsetType, list[str]]:
    """(Devices that approve before and in `new`, and the agents of both; names of what is looser in `new`).

    Without an agent before whose proposals wait for a device, there is nothing to guard. An agent that is no longer
    among `agents` and shadows proposes nothing.
    """
    if old is UNSET:
        return new.approvals, []
    now = Approvals({}, ()) if new.approvals is UNSET else new.approvals
    lost = [name for name in old.agents if name not in now.agents and (name in agents or name in new.shadows)]
    kept = {name: key for name, key in old.devices.items() if now.devices.get(name) == key}
    looser = [f"agents.{name}.approval" for name in lost] + [f"{DEVICES}{k}" for k in now.devices if k not in kept]
    # without an agent to guard the devices stay, so that one of them can sign that it is so
    kept = kept if now.agents else old.devices
    return (Approvals(kept, (*now.agents, *lost)) if lost or now.agents else UNSET), looser


def _tighter_regime(old: MarketRegime, new: MarketRegime | UnsetType) -> bool:
    """Whether a market regime `new` begins no later, ends no sooner and permits no more exposure than `old`."""
    if new is UNSET:
        return False
    same = (new.lookback, new.benchmark) == (old.lookback, old.benchmark)
    ends = new.above * (1.0 - new.margin) <= old.above * (1.0 - old.margin)
    return same and ends and new.above <= old.above and new.exposure <= old.exposure


def _tighter_limits(old: Limits, new: Limits) -> tuple[Limits, list[str]]:
    """(`new` with the tighter of both values for each limit, names of the limits that are looser in `new`)."""
    tighter_values: dict[str, Any] = {}
    for name in (*FIELDS, *EXTRA):
        old_value, new_value = value_of(old, name), value_of(new, name)
        if old_value is None or old_value == new_value:
            continue
        try:
            tighter_value = tighter_of(name, old_value, new_value)
        except ValueError:
            # values of two estimators cannot be compared: the earlier one stays until the delay has passed
            tighter_value = old_value
        if tighter_value != new_value:
            tighter_values[name] = tighter_value
    return override(new, **tighter_values), sorted(tighter_values)


def _tighter_caps(old: Allowance, new: Allowance) -> tuple[Allowance, list[str]]:
    """(the tighter of both values of each cap of [live], keys of the caps that are looser in `new`)."""
    tight = Allowance(
        account_micro=_lower(old.account_micro, new.account_micro),
        order_micro=_lower(old.order_micro, new.order_micro),
        orders_per_day=_lower(old.orders_per_day, new.orders_per_day),
        ramp_days=max(old.ramp_days, new.ramp_days),
        ramp_from=min(old.ramp_from, new.ramp_from),
        loosen_after_ns=max(old.loosen_after_ns, new.loosen_after_ns),
    )
    return tight, [key for key, field in CAPS.items() if getattr(tight, field) != getattr(new, field)]


CAPS: Final = {
    "max_account_notional": "account_micro",
    "max_order_notional": "order_micro",
    "max_orders_per_day": "orders_per_day",
    "ramp.days": "ramp_days",
    "ramp.from": "ramp_from",
    "loosen_after": "loosen_after_ns",
}
"""Key of [live] -> field of `Allowance`."""


def _lower(a: int | None, b: int | None) -> int | None:
    """The lower of two caps; None means no cap."""
    return min((cap for cap in (a, b) if cap is not None), default=None)

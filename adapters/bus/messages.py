"""The MQTT messages of a run: states, alerts and descriptions of the daemon. The module `entry_messages` composes the
messages of journal entries.

The same event gives the same message with the same id, so that duplicates after a crash are recognised.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from quantd.adapters.bus.parts import part_id, parts_of
from quantd.adapters.bus.payloads import (
    SCHEMA,
    Alert,
    Heartbeat,
    Measure,
    Payload,
    Portfolio,
    Risk,
    Status,
    StatusState,
    SwitchName,
)
from quantd.adapters.bus.topics import escaped_level, root
from quantd.adapters.bus.withheld import withheld
from quantd.trading.display_text import microsecond_text
from quantd.trading.effects import Effect, Publish, Switched, Valued
from quantd.trading.instruments import Universe
from quantd.trading.orders import money_text, quantities

TEXT_CHARS: Final = 1_000
"""Maximum length of free text in an alert: an exception of a user's policy can have any length."""

GROUPS: Final = "alert_groups"
"""Topic of grouped alerts: alerts of one kind and level within the time of [alerts] group are one message."""

PORTFOLIO: Final = "portfolio"
"""Retained topic of the account; further parts of a long message have the topics portfolio/2 and so on."""

_SWITCH: Final[tuple[SwitchName, ...]] = ("RUN", "REDUCE", "HALT")
_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """One MQTT message. With `retain`, the newest message of a topic is its current state and replaces older ones."""

    id: str
    topic: str
    payload: bytes
    retain: bool


class Composer:
    """Composes the messages of one run, names its agents, reasons and topics, and remembers the current trading
    switches."""

    def __init__(
        self,
        run: str,
        name: str,
        universe: Universe,
        agents: Sequence[str],
        *,
        prefix: str = "quantd",
        reasons: Sequence[str] = (),
        switch: Mapping[int, int] | None = None,
    ) -> None:
        """Prepare the topics of the run. Raises ValueError when `name` or `prefix` is no valid topic.

        `reasons` are the names of the order gate's reason codes. `switch` has the current trading switches of a
        restarted daemon: it maps an agent's index, or -1 for the whole account, to 0 RUN, 1 REDUCE or 2
        HALT.

        `_portfolio_parts` is the number of topics that the last portfolio message filled.
        """
        self.run = run
        self.name = name
        self.root = root(prefix, name)
        self.universe = universe
        self.agents = tuple(agents)
        self._reasons = tuple(reasons)
        self._switch = dict(switch or {})
        self._portfolio_parts = 1

    def note(self, move: Switched) -> None:
        """Register that a trading switch moved; the next message about the switches has the new value."""
        self._switch[move.agent] = move.after

    def critical(self, sequence: int, effects: Sequence[Effect]) -> list[Message]:
        """Return the CRITICAL alerts of a journal entry that is not stored yet."""
        return [
            self._alert_message(self._alert(effect, f"{self.run}-{sequence}-{k}"))
            for k, effect in enumerate(effects)
            if type(effect) is Publish and effect.level == "CRITICAL"
        ]

    def alert(self, body: str | bytes, merged: int = 0) -> Alert:
        """Decode an alert of a store's queue, which represents `merged` further alerts. Raises
        msgspec.ValidationError."""
        stored = msgspec.json.decode(body, type=dict[str, Any])
        stamp = self.stamp(stored["id"], stored["ts_event"])
        return msgspec.convert({"type": "alert"} | stored | stamp | {"count": merged + 1}, Alert)

    def stored(self, body: str | bytes, merged: int = 0) -> Message:
        """Return the message of an alert in a store's queue, which represents `merged` further alerts.

        Raises msgspec.ValidationError for a body that is no alert.
        """
        return self._alert_message(self.alert(body, merged))

    def group(self, alert: Alert) -> Message:
        """Return the message on the topic GROUPS for an alert that represents a group."""
        message = self._message(GROUPS, _for_all(alert))
        # another id than the message of the first alert of the group, which is sent too
        return message._replace(id=f"{alert.id}/{GROUPS}")

    def status(self, state: StatusState, ts: int, *, mode: str = "paper", version: str = "", text: str = "") -> Message:
        """Return the daemon's status. The status `offline` is composed in advance: the broker publishes it as the
        last will when the connection is lost."""
        id = f"{self.run}-status-{state}-{ts}"
        payload = Status(**self.stamp(id, ts), state=state, mode=mode, version=version, text=clean(text))
        return self._message("status", payload, retain=True)

    def heartbeat(self, ts: int, beat: int, slices: int, equity_micro: int) -> Message:
        """Return the message that the daemon is alive; `beat` is the message's number within the process."""
        id = f"{self.run}-beat-{ts}-{beat}"
        house = _SWITCH[self._switch.get(-1, 0)]
        payload = Heartbeat(**self.stamp(id, ts), slices=slices, switch=house, equity=money_text(equity_micro))
        return self._message("heartbeat", payload)

    def risk(
        self,
        sequence: int,
        ts: int,
        reason: str,
        limits: Mapping[str, tuple[float, float]],
        drawdown: float,
        limit_drawdown: float,
    ) -> Message:
        """Return the trading switches, and the limits and drawdowns of the whole account, all at `ts` (ns
        UTC).

        The limits come from the account itself, because the records of the journal may be of an earlier instant.

        `limits` maps the name of a limit to (value, bound). `drawdown` is the fall from the highest worth of
        the run, as a fraction, `limit_drawdown` the fall from the highest equity since the last resume. An agent's
        index is 0 or more in `_switch`; -1 is the house.
        """
        id = f"{self.run}-{sequence}-risk"
        payload = Risk(
            **self.stamp(id, ts),
            switch=_SWITCH[self._switch.get(-1, 0)],
            reason=clean(reason),
            agents={
                self.agent_name(agent): _SWITCH[state] for agent, state in sorted(self._switch.items()) if agent >= 0
            },
            limits=measures(limits),
            drawdown=drawdown,
            limit_drawdown=limit_drawdown,
        )
        return self._message("risk", payload, retain=True)

    def portfolio(self, sequence: int, k: int, valued: Valued, lots: Sequence[int]) -> list[Message]:
        """Return the state of the account as messages, in parts. `valued` is effect `k` of journal entry `sequence`,
        and `lots` are the account's total lots by column (symbol).

        Each part has a topic of its own. Topics of parts that only an earlier state had are cleared: an empty retained
        payload removes the topic (MQTT 3.1.1, 3.3.1.3).

        `valued` has the equity of each agent's book in micro-currency.
        """
        payload = Portfolio(
            **self.stamp(f"{self.run}-{sequence}-{k}", valued.ts),
            equity=money_text(valued.equity_micro),
            cash=money_text(valued.cash_micro),
            gross=valued.gross,
            limit_drawdown=valued.drawdown,
            books={self.agent_name(book): money_text(micro) for book, micro in enumerate(valued.books) if micro},
            positions=quantities(self.universe, lots),
        )
        topic, parts = f"{self.root}/{PORTFOLIO}", parts_of(payload)
        # True: each part is retained, and so is the empty payload that clears a topic
        messages = [Message(part.id, part_id(topic, n), text, True) for n, (part, text) in enumerate(parts, 1)]
        cleared = range(len(parts) + 1, self._portfolio_parts + 1)
        self._portfolio_parts = len(parts)
        return messages + [Message(part_id(payload.id, n), part_id(topic, n), b"", True) for n in cleared]

    def stamp(self, id: str, ts: int) -> dict[str, Any]:
        """Return the fields of `Stamp`, which every payload has: version, id, run and time."""
        time = microsecond_text(ts)
        return {"schema": SCHEMA, "id": id, "run": self.run, "name": self.name, "ts_event": ts, "time": time}

    def agent_name(self, agent: int) -> str:
        """Return the name of an agent by its index; "unallocated" for the last book, which no agent has."""
        return self.agents[agent] if 0 <= agent < len(self.agents) else "unallocated"

    def reason_name(self, code: int) -> str:
        """Return the name of a reason code of the gate; empty for 0."""
        if code == 0:
            return ""
        return self._reasons[code] if 0 < code < len(self._reasons) else str(code)

    def parts(self, suffix: str, payload: Payload) -> Iterator[Message]:
        """Yield the messages of a payload, one for each of its parts, not retained. `suffix` is the topic below the
        root."""
        topic = f"{self.root}/{suffix}"
        for part, text in parts_of(payload):
            yield Message(part.id, topic, text, False)

    def _message(self, suffix: str, payload: Payload, *, retain: bool = False) -> Message:
        return Message(payload.id, f"{self.root}/{suffix}", _encode(payload), retain)

    def _alert_message(self, alert: Alert) -> Message:
        return self._message(f"alerts/{alert.level}/{escaped_level(alert.kind)}", _for_all(alert))

    def _alert(self, effect: Publish, id: str) -> Alert:
        fields: dict[str, Any] = {
            k: clean(v) if isinstance(v, str) else v for k, v in asdict(effect).items() if k != "ts"
        }
        return Alert(**self.stamp(id, effect.ts), **fields)


def _for_all(alert: Alert) -> Alert:
    """An alert as every reader of the bus may see it."""
    text = withheld(alert.kind, alert.text)
    return alert if text == alert.text else replace(alert, text=text)


def measures(values: Mapping[str, tuple[float, float]]) -> dict[str, Measure]:
    """Convert limits, name -> (value, bound), to their form in a payload."""
    return {limit: Measure(value, bound) for limit, (value, bound) in values.items()}


def clean(text: str) -> str:
    """Convert text of any origin to valid, bounded UTF-8: a lone surrogate must not stop an alert."""
    return text[:TEXT_CHARS].encode("utf-8", "replace").decode()

"""The record of one world: encoded steps and rows to compare, and the features that took effect."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import msgspec

from quantd.trading.codec import encode

from .features import Features

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Ask": ("round", "agent", "policy"),
    "OrderBasket": ("sample", "n", "ts", "sym", "lots", "worst_nano", "end", "reason", "kind", "stop_nano"),
    "Cancel": ("sample", "n", "row", "ts"),
    "Query": ("sample", "n", "row"),
    "Again": ("sample", "n", "row"),
    "Publish": ("ts", "level", "kind", "text", "symbol", "agent", "value", "bound"),
    "Filled": ("sample", "n", "ts", "sym", "lots", "price_nano", "fee_micro", "shares"),
    "Crossed": ("sample", "ts", "symbol", "price_nano", "shares"),
    "Ended": ("sample", "n", "ts", "row", "state", "reason", "sym", "mark_nano"),
    "Planned": (
        "sample", "n", "ts", "agents", "prices", "before", "crossed", "net", "allowed", "reason", "follow_up",
        "portion",
    ),
    "AgentPlan": ("agent", "weights", "scale", "asked", "allowed", "reason", "policy"),
    "Portion": ("style", "decided"),
    "Valued": ("ts", "equity_micro", "cash_micro", "books", "gross", "drawdown"),
    "Booked": ("ts", "kind", "symbol", "amount_micro", "book"),
    "Switched": ("ts", "agent", "before", "after", "reason"),
    "Protected": ("ts", "sample", "n", "agent", "symbol", "kind", "entry", "mark", "level"),
    "Rested": ("ts", "sample", "n", "agent", "symbol", "kind", "entry", "level"),
    "Snapshot": ("ts",),
    "Stop": ("reason",),
    "Worked": ("ts", "sample", "decided", "agent", "style", "sym", "lots", "filled", "mark_nano", "reason"),
    "Reallocated": ("ts", "method", "why", "moved", "owed", "shares", "target"),
    "Promotion": (
        "ts", "champion", "challenger", "promoted", "why", "samples", "look", "measure", "gain", "p", "alpha", "names",
    ),
    "Shadowed": ("agent", "effects", "name"),
}  # fmt: skip
"""Compared fields of the rows of each effect and of its parts; effects without a row have none."""

ROWS: Final = frozenset({"Valued", "Filled", "Booked"})
"""Effects that are compared where a log has no others; orders and alerts are in the digest and in the counts."""

ACCOUNT: Final = (
    "lots", "cost_micro", "cash_micro", "residue_atto", "fees_micro", "flows_micro", "income_micro", "realised_micro",
)  # fmt: skip


def plain(value: Any) -> Any:
    """`value` as plain Python: effects and their parts as lists with their name, arrays as lists, bytes as hex."""
    kind = type(value)
    if kind.__name__ in FIELDS:
        return [kind.__name__, *[plain(getattr(value, name)) for name in FIELDS[kind.__name__]]]
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if hasattr(value, "tolist"):
        return value.tolist()
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass
class Record:
    """The log of one world's run: rows or steps to compare, and features."""

    journal: bool
    """Whether every step is encoded as in a journal; else rows of effects are compared."""
    rows_only: bool = False
    """Whether only `ROWS` are compared, so that the engine may leave out the rest (see
    `quantd.daemon.runtime.loop.Log`)."""
    features: Features = field(default_factory=Features)
    rows: list[Any] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """Kind of the event of each row."""
    steps: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Journal entry of each step, and what policies see at its Asks."""
    last: Any = None
    """The last fills of the house."""

    def answer(self, ask: Any) -> None:
        """No answer is recorded: the policy is asked."""

    def add(self, event: Any, effects: Sequence[Any]) -> None:
        """Record the effects of one event."""
        self.features.note_step(event, effects)
        if self.journal:
            views = [_view(effect) for effect in effects if type(effect).__name__ == "Ask"]
            self.steps.append((encode(event, effects), msgspec.msgpack.encode(views) if views else b""))
        for effect in effects:
            name = type(effect).__name__
            if name == "Filled":
                self.last = effect
            if name in FIELDS and not self.journal and (name in ROWS or not self.rows_only):
                row = plain(effect)
                if name == "Ask":
                    row += plain(_view(effect))
                self.rows.append(row)
                self.events.append(type(event).__name__)

    def end(self, name: str, values: list[Any]) -> None:
        """Record a value of the whole run, as the last row or step."""
        if self.journal:
            self.steps.append((msgspec.msgpack.encode([name, plain(values)]), b""))
        else:
            self.rows.append([name, *plain(values)])
            self.events.append("end")

    def digest(self) -> str:
        """Hex BLAKE2b of everything that is compared."""
        hashed = blake2b(digest_size=16)
        for step in self.steps:
            for part in step:
                hashed.update(len(part).to_bytes(4, "big"))
                hashed.update(part)
        for row in self.rows:
            hashed.update(msgspec.json.encode(row) + b"\n")
        return hashed.hexdigest()


def _view(ask: Any) -> list[Any]:
    """What the policy of an Ask sees of its book and of time."""
    view = ask.view
    return [
        view.weights.tobytes(), view.prices.tobytes(), view.cash, view.equity, view.time, view.sample_time, view.sample,
    ]  # fmt: skip

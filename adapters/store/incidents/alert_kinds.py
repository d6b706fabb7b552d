"""The kinds of alerts, as one table: what raises a kind, what clears it, its levels, and whether reminders are sent.

A kind that ends in `_` stands for several: `limit_` for one kind for each limit, `job_` for one for each scheduled job,
`statement_` for one for each kind of difference from the venue's record.
"""

from typing import Final, Literal

from msgspec import Struct

from quantd.trading.effects import Level

Clears = Literal["", "recovery", "correction", "run", "level", "decision", "acknowledgement"]
"""What clears an incident; "" for a kind of one-off events, which open none.

recovery: an INFO alert of the same kind, agent and symbol. correction: a WARNING alert of the same kind, agent and
symbol, or a reconciliation without a difference. run: the switch returns to RUN. level: the limit falls below its
WARNING level. decision: the policy answers again. acknowledgement: an operator.
"""

HOUR_NS: Final = 3_600_000_000_000

TEXT: Final[dict[Clears, str]] = {
    "": "-",
    "recovery": "its INFO alert",
    "correction": "a correction, or a comparison without a difference",
    "run": "the switch returns to RUN",
    "level": "the limit falls below its WARNING level",
    "decision": "the policy answers again",
    "acknowledgement": "an operator acknowledges it",
}
"""What clears an incident -> its text in the documentation."""


class AlertKind(Struct, frozen=True):
    """One kind of alert.

    `levels` are the levels of the kind's alerts, `opens` the levels that open an incident. `by_symbol` is True if this
    record describes alerts about a symbol; a kind can have a second record for alerts without a symbol. An incident
    that opens again within `calm_ns` (ns) after its end keeps its id.
    """

    name: str
    raised: str
    clears: Clears
    levels: tuple[Level, ...] = ("INFO", "WARNING", "CRITICAL")
    opens: tuple[Level, ...] = ("CRITICAL",)
    by_symbol: bool = False
    calm_ns: int = 0

    @property
    def reminded(self) -> bool:
        """Whether reminders are sent while an incident of this kind is not acknowledged."""
        return bool(self.opens)


def _condition(name: str, raised: str) -> AlertKind:
    """Return the kind of alerts about a thing that trading depends on, such as the feed: CRITICAL when it fails, INFO
    when it recovers."""
    return AlertKind(name, raised, "recovery", ("INFO", "CRITICAL"), calm_ns=24 * HOUR_NS)


def _at_venue(name: str, raised: str, *, by_symbol: bool = True) -> AlertKind:
    """Return a kind that is CRITICAL, until an operator acknowledges it."""
    return AlertKind(name, raised, "acknowledgement", ("CRITICAL",), by_symbol=by_symbol)


def _warning(name: str, raised: str) -> AlertKind:
    """Return a kind whose WARNING opens an incident, and whose INFO ends it."""
    return AlertKind(name, raised, "recovery", ("INFO", "WARNING"), ("WARNING",))


def _event(name: str, raised: str, *levels: Level) -> AlertKind:
    return AlertKind(name, raised, "", levels, ())


ALERT_KINDS: Final = (
    AlertKind(
        "limit_",
        "a limit of the house or of an agent reaches 60 %, 80 % or 100 % of its bound (some: 105 %)",
        "level",
        opens=("WARNING", "CRITICAL"),
        calm_ns=7 * 24 * HOUR_NS,
    ),
    AlertKind("switch", "a trading switch moves to REDUCE or HALT, or back", "run"),
    AlertKind(
        "reconciliation", "the venue's account differs from quantd's books", "correction", ("WARNING", "CRITICAL")
    ),
    _condition("feed", "the market-data feed fails"),
    AlertKind("broker", "the venue cannot be reached, or reports an unknown order", "recovery", calm_ns=24 * HOUR_NS),
    _at_venue("broker", "the venue cancels a trade (bust), or reports an impossible execution"),
    _condition("store", "the store takes no writes"),
    _condition("clock", "the clock of the machine is wrong"),
    _condition("lag", "the trading loop falls behind"),
    _condition("ledger", "the agents' books do not add up to the account"),
    _condition("account", "the account may not trade, or the venue refuses its keys"),
    _condition("comparison", "the account was not compared with the venue's for three periods"),
    _at_venue("order_unanswered", "the venue does not confirm an order for 5 minutes"),
    _at_venue("exit_refused", "the venue refuses for 5 minutes to close a position"),
    _at_venue("flatten", "every position is closed, or one is not after 5 minutes", by_symbol=False),
    _at_venue("flatten", "the venue's position is smaller than that in the books"),
    AlertKind(
        "halted",
        "trading of a symbol is halted, or outside its price limits; CRITICAL if it is held and was delisted",
        "recovery",
        opens=("WARNING", "CRITICAL"),
        by_symbol=True,
        calm_ns=24 * HOUR_NS,
    ),
    AlertKind(
        "price_jump",
        "a price jumps near a split ratio without a corporate action, and the symbol is held; again after each session",
        "recovery",
        ("INFO", "CRITICAL"),
        by_symbol=True,
    ),
    AlertKind(
        "refusal",
        "the venue refuses orders of a symbol, which pause for 1 to 60 minutes; CRITICAL for a reducing order",
        "recovery",
        by_symbol=True,
        calm_ns=24 * HOUR_NS,
    ),
    AlertKind("policy", "a policy fails or is late, and its agent holds", "decision", ("WARNING",), ("WARNING",)),
    AlertKind(
        "job_",
        "a scheduled job fails, a sink takes no alert for 2 minutes (`job_sink_NAME`), or an alarm is raised "
        "(`job_alarm_…`)",
        "recovery",
        opens=("WARNING", "CRITICAL"),
        calm_ns=24 * HOUR_NS,
    ),
    _warning(
        "statement_", "days of the account differ from the venue's own record: one kind for each kind of difference"
    ),
    _warning("decay", "a policy's Sharpe ratio is significantly below that of its test"),
    _warning("regime", "the market is volatile by `[risk.regime]`, and the account may hold less"),
    _warning("correlation", "the mean correlation of the holdings has changed"),
    _event("milestone", "the account has grown by another step", "INFO"),
    _event("rebalance", "a decision of the agents sent orders", "INFO"),
    _event("upkeep", "a system error: a task of the daemon fails and restarts, or a parity check differs", "WARNING"),
    _event("bars", "data quality: bars are quarantined, or belong to a policy's training window", "WARNING"),
    _event("calendar", "the calendar ends soon, or a bar is outside its sessions", "WARNING"),
    _event("missed", "a schedule was due while the daemon was down", "WARNING"),
    _event("before_open", "the schedule `before_open`: readiness, faults, next runs", "INFO", "WARNING"),
    _event("after_close", "the schedule `after_close`: result, positions, refused orders, next runs", "INFO"),
    _event("order", "an order has an unknown outcome, or is sent again", "INFO", "WARNING"),
    _event("rest", "a resting order that no longer fits the limits is cancelled", "WARNING"),
    _event("foreign", "an order at the venue was not sent by quantd", "WARNING"),
    _event("holdings", "the venue holds assets that are in no book", "INFO"),
    _event("protective", "a protective stop acts, or cannot be placed", "WARNING"),
    _event("operator", "a command that cannot be carried out", "WARNING"),
    _event("manual", "a manual order", "INFO"),
    _event("portfolio", "a portfolio is opened or closed, or could not be", "INFO", "WARNING"),
    _event(
        "proposal", "targets from outside are planned, refused, wait for a person, or have lapsed", "INFO", "WARNING"
    ),
    _event("loosening", "looser limits wait, are dropped, or apply", "INFO", "WARNING", "CRITICAL"),
    _event("config", "the configuration changed", "INFO"),
    _event("action", "a split, a dividend or a delisting", "INFO", "WARNING"),
    _event("flow", "a deposit or a withdrawal; WARNING for units of a coin, which are in no book", "INFO", "WARNING"),
    _event("capital", "capital moves between agents", "INFO"),
    _event("carried", "the account of an earlier run continues", "INFO"),
    _event("promotion", "a challenger is promoted, or not", "INFO"),
    _event("retrain", "a policy was retrained, or could not be", "INFO", "WARNING"),
    _event("artifact", "an agent decides by another artifact, or an artifact was refused", "INFO", "WARNING"),
    _event("policy_note", "a policy reports a note", "INFO", "WARNING"),
    _event("rehearsal", "`quantd alerts --test`", "INFO"),
)
"""Every kind, in the order of the documentation."""

_BY_NAME: Final = {(kind.name, kind.by_symbol): kind for kind in ALERT_KINDS}


def kind_of(name: str, symbol: str = "") -> AlertKind | None:
    """Return the record of an alert's kind; None for an unknown one.

    If a kind has a single record, it applies to alerts with and without a symbol.
    """
    family_names = (kind.name for kind in ALERT_KINDS if kind.name.endswith("_") and name.startswith(kind.name))
    record_name = next(family_names, name)
    with_symbol, opposite = bool(symbol), not symbol
    return _BY_NAME.get((record_name, with_symbol)) or _BY_NAME.get((record_name, opposite))


def kinds_table() -> str:
    lines = ["| kind | raised when | cleared by | levels |", "|---|---|---|---|"]
    for kind in ALERT_KINDS:
        name = f"`{kind.name}…`" if kind.name.endswith("_") else f"`{kind.name}`"
        about = f"{name} of a symbol" if kind.by_symbol and kind.name == "broker" else name
        levels = ", ".join(f"**{level}**" if level in kind.opens else level for level in kind.levels)
        lines.append(f"| {about} | {kind.raised} | {TEXT[kind.clears]} | {levels} |")
    return "\n".join(lines)

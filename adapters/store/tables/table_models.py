"""The tables of the store. Money is int micro-currency, prices int nano-currency, sizes int lots, ratios and measures
float.

SQLModel does not validate table classes. Rows are built only by `quantd.adapters.store.tables.projection`. Every table
is clustered on its key, which grows with time, so that an insert is an append. Orders also have an index by time:
without it, a list of the newest orders would sort all orders of the run.
"""

from typing import Annotated

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field, SQLModel

# without a row id, SQLite stores the rows in the order of the primary key
_CLUSTERED = {"sqlite_with_rowid": False}

Txt = Annotated[str, Field(sa_type=Text)]
TextKey = Annotated[str, Field(primary_key=True, sa_type=Text)]
Big = Annotated[int, Field(sa_type=BigInteger)]
BigKey = Annotated[int, Field(primary_key=True, sa_type=BigInteger)]
Number = Annotated[int, Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})]


class Entry(SQLModel):
    """The key (`seq`, `k`) of a row: effect `k` of journal entry `seq` gave the row. An entry is an event with its
    effects."""

    __table_args__ = _CLUSTERED
    run: TextKey
    seq: BigKey
    k: BigKey


class Timed(Entry):
    """The key (`seq`, `k`) of a row: effect `k` of journal entry `seq` gave the row. `ts` is the time (ns UTC) of the
    effect."""

    ts: Big


class Meta(SQLModel, table=True):
    """Facts about the store itself."""

    __tablename__ = "meta"
    name: TextKey
    value: Txt


class Run(SQLModel, table=True):
    """One account history (run).

    `universe` is JSON; `agents` is JSON [[first entry, [names by index]], ..]; `ended` is empty while the run can be
    continued.
    """

    __tablename__ = "runs"
    number: Number
    run: Txt
    ts: Big
    mode: Txt
    universe: Txt
    agents: Txt
    ended_ts: Big
    ended: Txt
    digest: bytes


class Journal(SQLModel, table=True):
    """One committed batch of entries. `blob` has the entries, packed by `quantd.adapters.store.journal.chain.pack`, and
    `packing` says whether they are compressed."""

    __tablename__ = "journal"
    number: Number
    run: Txt
    first_seq: Big
    last_seq: Big
    count: Big
    ts: Big
    codec: int
    packing: int
    blob: bytes
    prev: bytes
    hash: bytes


class SnapshotRow(SQLModel, table=True):
    """The frozen state after entry `seq`, as written by code `version`."""

    __tablename__ = "snapshots"
    run: TextKey
    seq: BigKey
    version: TextKey
    data: bytes
    digest: bytes


class OrderRow(SQLModel, table=True):
    """One order of the account.

    `lots` are signed, `filled` unsigned; `state` is an OrderState; `reason` is the code of the limit that reduced the
    order; `note` is the venue's message at its end.
    """

    __tablename__ = "orders"
    __table_args__ = Index("orders_by_time", "run", "ts", "sample", "n", "row"), _CLUSTERED
    run: TextKey
    sample: BigKey
    n: int = Field(primary_key=True)
    row: int = Field(primary_key=True)
    id: Txt
    seq: Big
    ts: Big
    symbol: Txt
    lots: Big
    worst_nano: Big
    end_ts: Big
    reason: int
    agents: Txt
    state: int
    filled: Big
    ended_ts: Big
    note: Txt


class FillRow(Entry, table=True):
    """One fill of an order of the account. `lots` are signed; `shares` is JSON [[agent index, signed lots], ..].

    The lower 16 bits of `k` are the index of the fill in its effect, the bits above them the index of the effect.
    """

    __tablename__ = "fills"
    sample: Big
    n: int
    ts: Big
    symbol: Txt
    lots: Big
    price_nano: Big
    fee_micro: Big
    shares: Txt


class CrossRow(Entry, table=True):
    """Lots traded between agents without an order; `shares` is JSON [[agent index, signed lots], ..]."""

    __tablename__ = "crosses"
    sample: Big
    ts: Big
    symbol: Txt
    price_nano: Big
    shares: Txt


class DecisionRow(Entry, table=True):
    """One plan: the decisions of one instant converted to orders. `plan` is its Planned effect in MessagePack."""

    __tablename__ = "decisions"
    sample: Big
    n: int
    ts: Big
    follow_up: int
    plan: bytes


class EquityRow(Timed, table=True):
    """The account at one sample (time of valuation); `books` is JSON, the equity of each agent's book in
    micro-currency."""

    __tablename__ = "equity"
    equity_micro: Big
    cash_micro: Big
    books: Txt
    gross: float
    drawdown: float


class AlertRow(Timed, table=True):
    """One alert. `value` and `bound` are NULL without a measurement, or where it is not a number."""

    __tablename__ = "alerts"
    level: Txt
    kind: Txt
    text: Txt
    symbol: Txt
    agent: Txt
    value: float | None
    bound: float | None


class BookingRow(Timed, table=True):
    """A cash movement without a fill. A flow into or out of an agent's book has the `kind` "flow@" and the agent's
    name."""

    __tablename__ = "bookings"
    kind: Txt
    symbol: Txt
    amount_micro: Big


class SwitchRow(Timed, table=True):
    """A change of a trading switch; `before` and `after` are 0 RUN, 1 REDUCE, 2 HALT; agent -1 is the whole account."""

    __tablename__ = "switches"
    agent: int
    before: int
    after: int
    reason: Txt


class RiskRow(Timed, table=True):
    """The account's risk limits at one instant, as JSON `measures`: limit -> [value, bound], null for NaN or infinity.

    `kind` "plan" is the forecast, at reference prices, for the time after all orders of one decision have filled.
    `kind` "held" is the measurement at a valuation: of all limits, or of the limits on losses and realised returns
    alone.
    """

    __tablename__ = "risk"
    kind: Txt
    measures: Txt


class HouseRow(Timed, table=True):
    """Records of the account about its agents.

    `kind` is "capital" (a move of capital), "promotion" (a comparison with the champion `agent`) or "shadow" (the book
    of the shadow agent `agent` at a valuation). `body` is JSON.
    """

    __tablename__ = "house"
    kind: Txt
    agent: Txt
    body: Txt


class IncidentRow(Timed, table=True):
    """An incident after one change; the newest row of an `id` is its present state. `k` is the index of the change
    among those of journal entry `seq`.

    `sinks` is JSON, the receivers of escalations; `told` is 1 if an alert announced the opening, else 0.
    """

    __tablename__ = "incidents"
    id: Txt
    kind: Txt
    agent: Txt
    symbol: Txt
    level: Txt
    text: Txt
    value: float | None
    bound: float | None
    since_ts: Big
    state: Txt
    raised: int
    reminded: int
    who: Txt
    reason: Txt
    acknowledged_ts: Big
    sinks: Txt
    told: int
    worst: Txt
    paced: int


class OutboxRow(Timed, table=True):
    """A message queued for the bus. `body` is its JSON text, in which subscribers find its id; `merged` counts the
    messages merged into it."""

    __tablename__ = "outbox"
    level: Txt
    kind: Txt
    body: Txt
    merged: Big
    digest: bytes


class DeliveryRow(SQLModel, table=True):
    """An alert queued for a sink of [alerts.sinks]. Besides `sink` it has the columns of an OutboxRow."""

    __tablename__ = "deliveries"
    __table_args__ = _CLUSTERED
    sink: TextKey
    run: TextKey
    seq: BigKey
    k: BigKey
    ts: Big
    level: Txt
    kind: Txt
    body: Txt
    merged: Big
    digest: bytes


class JobRow(SQLModel, table=True):
    """One run of a scheduled job. `schedules` is JSON, the names of the schedules that started it. `due_ts` is a time
    of the market data, the other times are of the machine's clock."""

    __tablename__ = "jobs"
    __table_args__ = _CLUSTERED
    run: TextKey
    id: BigKey
    job: Txt
    schedules: Txt
    who: Txt
    reason: Txt
    due_ts: Big
    state: Txt
    attempts: Big
    started_ns: Big
    ended_ns: Big
    result: Txt
    digest: bytes


class IdentityRow(SQLModel, table=True):
    """What a run was last connected to. `name` is "account", "asset" with a symbol, "host" or "daemon"."""

    __tablename__ = "identities"
    __table_args__ = _CLUSTERED
    run: TextKey
    name: TextKey
    value: Txt
    digest: bytes


class QuarantineRow(SQLModel, table=True):
    """A refused bar as text, with the reason."""

    __tablename__ = "quarantine"
    number: Number
    run: Txt
    ts: Big
    symbol: Txt
    reason: Txt
    bar: Txt
    digest: bytes


class LeaseRow(SQLModel, table=True):
    """The process that holds the lease (the right to write) of an account, and the end of the lease.

    `token` increases by one each time another process takes the lease. `seat` identifies the lock file of the holder's
    state folder, by boot id, device and inode.
    """

    __tablename__ = "lease"
    account: TextKey
    token: Big
    holder: Txt
    host: Txt
    pid: Big
    seat: Txt
    since_ns: Big
    expires_ns: Big


class ArchiveRow(SQLModel, table=True):
    """Journal rows `first` to `last` that a parquet file replaces.

    `prev` is the hash of the row before `first`, `hash` the hash of row `last`. `runs` is JSON [[run, first entry, last
    entry], ..]; `checksum` is the BLAKE2b-512 of the file.
    """

    __tablename__ = "archives"
    first: Number
    last: Big
    prev: bytes
    hash: bytes
    runs: Txt
    folder: Txt
    file: Txt
    size: Big
    checksum: bytes
    digest: bytes


class RetentionRow(SQLModel, table=True):
    """Which rows of a run's read model (derived table) were deleted: all rows of `model` earlier than `before_ts` (ns
    UTC)."""

    __tablename__ = "retention"
    run: TextKey
    model: TextKey
    before_ts: Big
    digest: bytes


def columns_of(table: str) -> tuple[str, ...]:
    return tuple(SQLModel.metadata.tables[table].columns.keys())

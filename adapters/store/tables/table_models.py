"""The tables of the store. Money is int micro-currency, prices int nano-currency, sizes int lots, ratios and measures
float.

SQLModel does not validate table classes. Only `quantd.adapters.store.tables.projection` builds rows. Every table is
clustered on its key, which grows with time, so that an insert is an append. Orders have an index by their instant too:
without it, a list of the newest ones would sort all orders of the run.
"""

from typing import Annotated

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = 3
"""The schema number in `meta`, checked by versions older than the Alembic revisions (they know 1).

A new revision of `quantd.adapters.store.migrations` need not change it.
"""

# without a row id, SQLite stores the rows in the order of the primary key
_CLUSTERED = {"sqlite_with_rowid": False}

Txt = Annotated[str, Field(sa_type=Text)]
TextKey = Annotated[str, Field(primary_key=True, sa_type=Text)]
Big = Annotated[int, Field(sa_type=BigInteger)]
BigKey = Annotated[int, Field(primary_key=True, sa_type=BigInteger)]
Number = Annotated[int, Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})]


class Entry(SQLModel):
    """The key of a row that effect `k` of journal entry `seq` wrote."""

    __table_args__ = _CLUSTERED
    run: TextKey
    seq: BigKey
    k: BigKey


class Timed(Entry):
    """The key with the instant of the effect."""

    ts: Big


class Meta(SQLModel, table=True):
    """Facts about the store itself."""

    __tablename__ = "meta"
    name: TextKey
    value: Txt


class Run(SQLModel, table=True):
    """One account history.

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
    """One committed batch of entries. `blob` is the format of `quantd.adapters.store.journal.chain.pack`."""

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
    """One house order.

    `lots` are signed, `filled` unsigned; `state` is an OrderState; `reason` is the code of the limit that cut it;
    `note` is the venue's message at its end.
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
    """One house fill. `lots` are signed; `shares` is JSON [[agent index, signed lots], ..].

    The lower 16 bits of `k` are the index of the fill in its effect.
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
    """Lots traded between agents; `shares` as in fills."""

    __tablename__ = "crosses"
    sample: Big
    ts: Big
    symbol: Txt
    price_nano: Big
    shares: Txt


class DecisionRow(Entry, table=True):
    """One planned round. `plan` is its Planned effect in MessagePack."""

    __tablename__ = "decisions"
    sample: Big
    n: int
    ts: Big
    follow_up: int
    plan: bytes


class EquityRow(Timed, table=True):
    """The account at one sample; `books` is JSON, the equity of each book in micro-currency."""

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
    """A cash movement without a fill. A flow of an agent's book has the `kind` "flow@agent"."""

    __tablename__ = "bookings"
    kind: Txt
    symbol: Txt
    amount_micro: Big


class SwitchRow(Timed, table=True):
    """A change of a switch; `before` and `after` are 0 RUN, 1 REDUCE, 2 HALT; agent -1 is the house."""

    __tablename__ = "switches"
    agent: int
    before: int
    after: int
    reason: Txt


class RiskRow(Timed, table=True):
    """House limits at one instant, as JSON `measures`: limit -> [value, bound], null for no number.

    `kind` "plan" is the forecast after a round's orders have filled, at reference prices. `kind` "held" is
    the measurement at a sample: positions with losses, or losses and realised returns alone.
    """

    __tablename__ = "risk"
    kind: Txt
    measures: Txt


class HouseRow(Timed, table=True):
    """Records of the house about its agents.

    `kind` is "capital" (a capital move), "promotion" (a comparison with the champion `agent`) or "shadow" (the book of
    the shadow `agent` at a sample). `body` is JSON.
    """

    __tablename__ = "house"
    kind: Txt
    agent: Txt
    body: Txt


class IncidentRow(Timed, table=True):
    """An incident after one change; the newest row of an `id` is its present state. `k` counts the changes of `seq`.

    `sinks` is JSON, the receivers of escalations; `told` is 0 or 1.
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
    """A message queued for the bus. Subscribers see `id`; `merged` counts the messages merged into it."""

    __tablename__ = "outbox"
    level: Txt
    kind: Txt
    body: Txt
    merged: Big
    digest: bytes


class DeliveryRow(SQLModel, table=True):
    """An alert queued for a sink of [alerts.sinks], with the columns of `outbox`."""

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
    """One run of a scheduled job. `schedules` is JSON; `due_ts` is a time of the market, the other times are of the
    clock."""

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
    """The leader of an account, and the end of its lease.

    `token` increases by one each time another process takes the lease. `seat` identifies the lock file of its state
    folder, by boot id, device and inode.
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

    `prev` is the hash before the first row, `hash` that of the last row. `runs` is JSON [[run, first entry, last
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
    """Deleted read models of a run: all rows of `model` earlier than `before_ts`."""

    __tablename__ = "retention"
    run: TextKey
    model: TextKey
    before_ts: Big
    digest: bytes


def columns_of(table: str) -> tuple[str, ...]:
    """Return the column names of a table, in their order."""
    return tuple(SQLModel.metadata.tables[table].columns.keys())

"""The tables of the store. Money is int micro-currency, prices int nano-currency, sizes int lots, ratios and measures
float.

SQLModel does not validate table classes. Only `quantd.adapters.store.tables.projection` builds rows. Every table is
clustered on its key, which grows with time, so that an insert is an append.
"""

from sqlalchemy import BigInteger, LargeBinary, Text
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = 3
"""The schema number in `meta`, checked by versions older than the Alembic revisions (they know 1).

A new revision of `quantd.adapters.store.migrations` need not change it.
"""

_CLUSTERED = {"sqlite_with_rowid": False}


class Meta(SQLModel, table=True):
    """Facts about the store itself."""

    __tablename__ = "meta"
    name: str = Field(primary_key=True, sa_type=Text)
    value: str = Field(sa_type=Text)


class Run(SQLModel, table=True):
    """One account history.

    `universe` is JSON; `agents` is JSON [[first entry, [names by number]], ..]; `ended` is empty while the run can be
    continued.
    """

    __tablename__ = "runs"
    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    run: str = Field(sa_type=Text)
    ts: int = Field(sa_type=BigInteger)
    mode: str = Field(sa_type=Text)
    universe: str = Field(sa_type=Text)
    agents: str = Field(sa_type=Text)
    ended_ts: int = Field(sa_type=BigInteger)
    ended: str = Field(sa_type=Text)
    digest: bytes = Field(sa_type=LargeBinary)


class Journal(SQLModel, table=True):
    """One committed batch of entries. `blob` is the format of `quantd.adapters.store.journal.chain.pack`."""

    __tablename__ = "journal"
    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    run: str = Field(sa_type=Text)
    first_seq: int = Field(sa_type=BigInteger)
    last_seq: int = Field(sa_type=BigInteger)
    count: int = Field(sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    codec: int
    packing: int
    blob: bytes = Field(sa_type=LargeBinary)
    prev: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)


class SnapshotRow(SQLModel, table=True):
    """The frozen state after entry `seq`, as written by code `version`."""

    __tablename__ = "snapshots"
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    version: str = Field(primary_key=True, sa_type=Text)
    data: bytes = Field(sa_type=LargeBinary)
    digest: bytes = Field(sa_type=LargeBinary)


class OrderRow(SQLModel, table=True):
    """One house order.

    `lots` are signed, `filled` unsigned; `state` is an OrderState; `reason` is the code of the limit that cut it;
    `note` is the venue's message at its end.
    """

    __tablename__ = "orders"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    sample: int = Field(primary_key=True, sa_type=BigInteger)
    n: int = Field(primary_key=True)
    row: int = Field(primary_key=True)
    id: str = Field(sa_type=Text)
    seq: int = Field(sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    symbol: str = Field(sa_type=Text)
    lots: int = Field(sa_type=BigInteger)
    worst_nano: int = Field(sa_type=BigInteger)
    end_ts: int = Field(sa_type=BigInteger)
    reason: int
    agents: str = Field(sa_type=Text)
    state: int
    filled: int = Field(sa_type=BigInteger)
    ended_ts: int = Field(sa_type=BigInteger)
    note: str = Field(sa_type=Text)


class FillRow(SQLModel, table=True):
    """One house fill. `lots` are signed; `shares` is JSON [[agent, signed lots], ..]."""

    __tablename__ = "fills"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    sample: int = Field(sa_type=BigInteger)
    n: int
    ts: int = Field(sa_type=BigInteger)
    symbol: str = Field(sa_type=Text)
    lots: int = Field(sa_type=BigInteger)
    price_nano: int = Field(sa_type=BigInteger)
    fee_micro: int = Field(sa_type=BigInteger)
    shares: str = Field(sa_type=Text)


class CrossRow(SQLModel, table=True):
    """Lots traded between agents; `shares` as in fills."""

    __tablename__ = "crosses"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    sample: int = Field(sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    symbol: str = Field(sa_type=Text)
    price_nano: int = Field(sa_type=BigInteger)
    shares: str = Field(sa_type=Text)


class DecisionRow(SQLModel, table=True):
    """One planned round: `plan` is its Planned effect in msgpack."""

    __tablename__ = "decisions"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    sample: int = Field(sa_type=BigInteger)
    n: int
    ts: int = Field(sa_type=BigInteger)
    follow_up: int
    plan: bytes = Field(sa_type=LargeBinary)


class EquityRow(SQLModel, table=True):
    """The account at one sample; `books` is JSON, equities in micro."""

    __tablename__ = "equity"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    equity_micro: int = Field(sa_type=BigInteger)
    cash_micro: int = Field(sa_type=BigInteger)
    books: str = Field(sa_type=Text)
    gross: float
    drawdown: float


class AlertRow(SQLModel, table=True):
    """One alert. `value` and `bound` are NULL without a measurement, or where it is not a number."""

    __tablename__ = "alerts"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    level: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    symbol: str = Field(sa_type=Text)
    agent: str = Field(sa_type=Text)
    value: float | None
    bound: float | None


class BookingRow(SQLModel, table=True):
    """A cash movement without a fill. A flow of an agent's book has the `kind` "flow@agent"."""

    __tablename__ = "bookings"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=Text)
    symbol: str = Field(sa_type=Text)
    amount_micro: int = Field(sa_type=BigInteger)


class SwitchRow(SQLModel, table=True):
    """A change of a switch; `before` and `after` are 0 RUN, 1 REDUCE, 2 HALT; agent -1 is the house."""

    __tablename__ = "switches"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    agent: int
    before: int
    after: int
    reason: str = Field(sa_type=Text)


class RiskRow(SQLModel, table=True):
    """House limits at one instant, as JSON `measures`: limit -> [value, bound], null for no number.

    `kind` "plan" is the forecast after a round's orders have filled, at reference prices. `kind` "held" covers
    positions at a sample with losses, or losses and realised returns alone.
    """

    __tablename__ = "risk"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=Text)
    measures: str = Field(sa_type=Text)


class HouseRow(SQLModel, table=True):
    """Records between agents.

    `kind` is "capital" (a capital move), "promotion" (a comparison with the champion `agent`) or "shadow" (the book of
    the shadow `agent` at a sample). `body` is JSON.
    """

    __tablename__ = "house"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    kind: str = Field(sa_type=Text)
    agent: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)


class OutboxRow(SQLModel, table=True):
    """A message queued for the bus. Subscribers see `id`; `merged` counts the messages merged into it."""

    __tablename__ = "outbox"
    __table_args__ = _CLUSTERED
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    level: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    merged: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)


class DeliveryRow(SQLModel, table=True):
    """An alert queued for a sink of [alerts.sinks], as in outbox."""

    __tablename__ = "deliveries"
    __table_args__ = _CLUSTERED
    sink: str = Field(primary_key=True, sa_type=Text)
    run: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    k: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = Field(sa_type=BigInteger)
    level: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    merged: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)


class QuarantineRow(SQLModel, table=True):
    """A refused bar as text, with the reason."""

    __tablename__ = "quarantine"
    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    run: str = Field(sa_type=Text)
    ts: int = Field(sa_type=BigInteger)
    symbol: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    bar: str = Field(sa_type=Text)
    digest: bytes = Field(sa_type=LargeBinary)


class LeaseRow(SQLModel, table=True):
    """The leader of an account, and the end of its lease.

    `token` increases by one each time another process takes the lease. `seat` identifies the lock file of its state
    folder, by boot id, device and inode.
    """

    __tablename__ = "lease"
    account: str = Field(primary_key=True, sa_type=Text)
    token: int = Field(sa_type=BigInteger)
    holder: str = Field(sa_type=Text)
    host: str = Field(sa_type=Text)
    pid: int = Field(sa_type=BigInteger)
    seat: str = Field(sa_type=Text)
    since_ns: int = Field(sa_type=BigInteger)
    expires_ns: int = Field(sa_type=BigInteger)


class ArchiveRow(SQLModel, table=True):
    """Journal rows `first` to `last` that a parquet file replaces.

    `prev` is the hash before the first row, `hash` that of the last. `runs` is JSON [[run, first entry, last entry],
    ..]; `checksum` is the file's.
    """

    __tablename__ = "archives"
    first: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    last: int = Field(sa_type=BigInteger)
    prev: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)
    runs: str = Field(sa_type=Text)
    folder: str = Field(sa_type=Text)
    file: str = Field(sa_type=Text)
    size: int = Field(sa_type=BigInteger)
    checksum: bytes = Field(sa_type=LargeBinary)
    digest: bytes = Field(sa_type=LargeBinary)


class RetentionRow(SQLModel, table=True):
    """Deleted read models of a run: everything of `model` before `before_ts`."""

    __tablename__ = "retention"
    run: str = Field(primary_key=True, sa_type=Text)
    model: str = Field(primary_key=True, sa_type=Text)
    before_ts: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)

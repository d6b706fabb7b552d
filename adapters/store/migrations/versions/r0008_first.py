"""The tables of the first version"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = None
branch_labels = None
depends_on = None

TYPES: Final = {"t": sa.Text, "b": sa.BigInteger, "i": sa.Integer, "f": sa.Float, "x": sa.LargeBinary}

BY_ROWID: Final = {
    "meta": "*name:t value:t",
    "runs": "*number:b run:t ts:b mode:t universe:t agents:t ended_ts:b ended:t digest:x",
    "journal": "*number:b run:t first_seq:b last_seq:b count:b ts:b codec:i packing:i blob:x prev:x hash:x",
    "snapshots": "*run:t *seq:b *version:t data:x digest:x",
    "quarantine": "*number:b run:t ts:b symbol:t reason:t bar:t digest:x",
    "lease": "*account:t token:b holder:t host:t pid:b seat:t since_ns:b expires_ns:b",
    "archives": "*first:b last:b prev:x hash:x runs:t folder:t file:t size:b checksum:x digest:x",
    "retention": "*run:t *model:t before_ts:b digest:x",
}
"""Table -> its columns: `*` marks a part of the key, `?` a column that may be NULL."""

CLUSTERED: Final = {
    "orders": "*run:t *sample:b *n:i *row:i id:t seq:b ts:b symbol:t lots:b worst_nano:b end_ts:b reason:i agents:t"
    " state:i filled:b ended_ts:b note:t",
    "fills": "*run:t *seq:b *k:b sample:b n:i ts:b symbol:t lots:b price_nano:b fee_micro:b shares:t",
    "crosses": "*run:t *seq:b *k:b sample:b ts:b symbol:t price_nano:b shares:t",
    "decisions": "*run:t *seq:b *k:b sample:b n:i ts:b follow_up:i plan:x",
    "equity": "*run:t *seq:b *k:b ts:b equity_micro:b cash_micro:b books:t gross:f drawdown:f",
    "alerts": "*run:t *seq:b *k:b ts:b level:t kind:t text:t symbol:t agent:t value:f? bound:f?",
    "bookings": "*run:t *seq:b *k:b ts:b kind:t symbol:t amount_micro:b",
    "switches": "*run:t *seq:b *k:b ts:b agent:i before:i after:i reason:t",
    "risk": "*run:t *seq:b *k:b ts:b kind:t measures:t",
    "house": "*run:t *seq:b *k:b ts:b kind:t agent:t body:t",
    "incidents": "*run:t *seq:b *k:b ts:b id:t kind:t agent:t symbol:t level:t text:t value:f? bound:f? since_ts:b"
    " state:t raised:i reminded:i who:t reason:t acknowledged_ts:b sinks:t told:i worst:t paced:i",
    "outbox": "*run:t *seq:b *k:b ts:b level:t kind:t body:t merged:b digest:x",
    "deliveries": "*sink:t *run:t *seq:b *k:b ts:b level:t kind:t body:t merged:b digest:x",
    "jobs": "*run:t *id:b job:t schedules:t who:t reason:t due_ts:b state:t attempts:b started_ns:b ended_ns:b result:t"
    " digest:x",
}
"""Tables that SQLite stores in the order of their key."""


def upgrade() -> None:
    for tables, with_rowid in ((BY_ROWID, True), (CLUSTERED, False)):
        for table, columns in tables.items():
            op.create_table(table, *map(_column, columns.split()), sqlite_with_rowid=with_rowid)
    op.create_index("orders_by_time", "orders", ["run", "ts", "sample", "n", "row"])
    op.execute("INSERT INTO meta (name, value) VALUES ('schema', '3'), ('outbox_dropped', '0')")


def _column(text: str) -> sa.Column[object]:
    name, _, kind = text.partition(":")
    column_type = TYPES[kind[0]]()
    return sa.Column(name.lstrip("*"), column_type, nullable="?" in kind, primary_key="*" in name, autoincrement=False)

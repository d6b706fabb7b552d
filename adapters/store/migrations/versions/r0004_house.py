"""A table for records between agents: capital moves, promotions, and the books of shadows"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADDS_TABLES_ONLY = True


def upgrade() -> None:
    """Add the table `house` with the columns that it had in this revision."""
    op.create_table(
        "house",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("k", sa.BigInteger(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "seq", "k"),
        sqlite_with_rowid=False,
    )

"""An index of orders by their instant"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ADDS_TABLES_ONLY = True


def upgrade() -> None:
    op.create_index("orders_by_time", "orders", ["run", "ts", "sample", "n", "row"])

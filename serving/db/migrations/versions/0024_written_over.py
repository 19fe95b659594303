"""Tables whose files still have what was in them before it was sealed; for the system only."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that have files with something in them, whether rows or what is left of rows."""
    op.create_table(
        "written_over",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("table_name"),
    )
    for table in ("report", "webhook_endpoint", "upload"):
        op.execute(f"INSERT INTO written_over (table_name) SELECT '{table}' WHERE pg_relation_size('{table}') > 0")
    op.execute("ALTER TABLE written_over ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE written_over FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY tenant ON written_over USING ((SELECT current_setting('app.tenant', true)) = '*')")


def downgrade() -> None:
    """Drop it; going up again makes it of what there is."""
    op.drop_table("written_over")

"""Each attempt to deliver a webhook is kept, and what waits for an endpoint is found by it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_POLICY = """
CREATE POLICY tenant ON webhook_attempt
    USING (tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')
"""


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "webhook_attempt",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["webhook_delivery.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("delivery_id", "number"),
    )
    op.create_index(
        "ix_webhook_delivery_waiting",
        "webhook_delivery",
        ["endpoint_id", "next_at"],
        unique=False,
        postgresql_where="state = 'pending'",
    )
    op.execute("ALTER TABLE webhook_attempt ENABLE ROW LEVEL SECURITY")
    # For the table's owner too, who is whom the server connects as.
    op.execute("ALTER TABLE webhook_attempt FORCE ROW LEVEL SECURITY")
    op.execute(_POLICY)


def downgrade() -> None:
    """Drop the table, and all that is in it."""
    op.drop_index("ix_webhook_delivery_waiting", table_name="webhook_delivery", postgresql_where="state = 'pending'")
    op.drop_table("webhook_attempt")

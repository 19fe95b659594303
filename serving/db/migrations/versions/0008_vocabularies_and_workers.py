"""Vocabularies of tenants, and workers that say how they are; row-level security as in the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "vocabulary",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_vocabulary_tenant_name", "vocabulary", ["tenant_id", "name"], unique=True)
    op.create_table(
        "worker",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("busy", sa.Integer(), nullable=False),
        sa.Column("models", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_worker_seen_at", "worker", ["seen_at"], unique=False)
    for table in ("vocabulary", "worker"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        # For the tables' owner too, who is whom the server connects as.
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant ON vocabulary USING "
        "(tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')"
    )
    # Workers are nobody's: no tenant sees them, whatever a query says.
    op.execute("CREATE POLICY system ON worker USING (current_setting('app.tenant', true) = '*')")


def downgrade() -> None:
    """Drop both, and all that is in them."""
    op.drop_table("worker")
    op.drop_table("vocabulary")

"""Rate limits that all processes share, and the audit log; row-level security as in the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_POLICY = """
CREATE POLICY tenant ON {table}
    USING (tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')
"""


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "rate_bucket",
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("ix_rate_bucket_full_at", "rate_bucket", ["full_at"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("credential", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("write", sa.Text(), nullable=True),
        sa.Column("targets", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_tenant", "audit", ["tenant_id", "at", "id"], unique=False)
    op.create_index("ix_audit_actor", "audit", ["tenant_id", "actor", "at", "id"], unique=False)
    op.create_index("ix_audit_operation", "audit", ["tenant_id", "operation", "at", "id"], unique=False)
    op.create_index("ix_audit_at", "audit", ["at"], unique=False, postgresql_using="brin")
    op.execute("ALTER TABLE audit ENABLE ROW LEVEL SECURITY")
    # For the table's owner too, who is whom the server connects as.
    op.execute("ALTER TABLE audit FORCE ROW LEVEL SECURITY")
    op.execute(_POLICY.format(table="audit"))
    # For the metrics, which count jobs that ended lately.
    op.create_index("ix_job_finished", "job", ["finished_at"], unique=False, postgresql_include=["state"])


def downgrade() -> None:
    """Drop them, and all that is in them."""
    op.drop_index("ix_job_finished", table_name="job", postgresql_include=["state"])
    op.drop_table("audit")
    op.drop_table("rate_bucket")

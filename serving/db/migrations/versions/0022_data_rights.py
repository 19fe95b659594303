"""What is to go, what has to stay, and what is gone; row-level security as in 0016.

Messages of webhooks say by a column which video they are about, so that they go with it. Those of videos that are gone
already, go now.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLES = ("erasure", "legal_hold", "retention_rule")

_POLICY = """
CREATE POLICY tenant ON {table} USING (
    tenant_id = (SELECT current_setting('app.tenant', true)) OR (SELECT current_setting('app.tenant', true)) = '*'
)
"""


def _moment(name: str, *, now: bool = True) -> sa.Column:
    if now:
        return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def upgrade() -> None:
    """Make the tables, and the column."""
    op.create_table(
        "erasure",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=True),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("pending", postgresql.ARRAY(sa.Text()), nullable=False),
        _moment("at"),
        _moment("finished_at", now=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_erasure_tenant", "erasure", ["tenant_id", "at", "id"])
    op.create_index("ix_erasure_video", "erasure", ["video_id"])
    op.create_index("ix_erasure_open", "erasure", ["at"], postgresql_where=sa.text("finished_at IS NULL"))
    op.create_table(
        "legal_hold",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        _moment("placed_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"]),
        sa.PrimaryKeyConstraint("video_id"),
    )
    op.create_index("ix_legal_hold_tenant_id", "legal_hold", ["tenant_id"])
    op.create_table(
        "retention_rule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("keep_days", sa.Integer(), nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_retention_rule_label", "retention_rule", ["tenant_id", sa.text("coalesce(label, '')")], unique=True
    )
    op.create_index("ix_retention_rule_tenant", "retention_rule", ["tenant_id", "id"])
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(_POLICY.format(table=table))
    # Without it, policies show none, until this transaction ends.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.add_column("webhook_message", sa.Column("video_id", sa.Text(), nullable=True))
    op.execute(
        "DELETE FROM webhook_message m WHERE m.payload ? 'video_id' "
        "AND NOT EXISTS (SELECT FROM video v WHERE v.id = m.payload ->> 'video_id')"
    )
    op.execute("UPDATE webhook_message SET video_id = payload ->> 'video_id' WHERE payload ? 'video_id'")
    op.create_foreign_key(
        "fk_webhook_message_video", "webhook_message", "video", ["video_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index("ix_webhook_message_video", "webhook_message", ["video_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_webhook_message_video", "webhook_message")
    op.drop_constraint("fk_webhook_message_video", "webhook_message", type_="foreignkey")
    op.drop_column("webhook_message", "video_id")
    for table in reversed(_TABLES):
        op.drop_table(table)

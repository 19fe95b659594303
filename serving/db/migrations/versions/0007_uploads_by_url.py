"""Uploads that a worker fetches from a URL, what a tenant may keep, and what finds rows that are old."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_DUE = "status = 'waiting' AND method = 'url'"

_INDICES: tuple[tuple[str, str, list[str], dict[str, Any]], ...] = (
    ("ix_upload_due", "upload", ["tenant_id", "next_at"], {"postgresql_where": _DUE}),
    ("ix_upload_ended", "upload", ["updated_at"], {"postgresql_where": "status <> 'waiting'"}),
    ("ix_upload_part_tenant", "upload_part", ["tenant_id"], {"postgresql_include": ["size_bytes"]}),
    ("ix_video_size", "video", ["tenant_id"], {"postgresql_include": ["size_bytes"]}),
    ("ix_job_features", "job", ["tenant_id", "feature_key"], {}),
    ("ix_webhook_message_created", "webhook_message", ["created_at"], {}),
    ("ix_webhook_delivery_message", "webhook_delivery", ["message_id"], {}),
)


def upgrade() -> None:
    """Make them."""
    op.add_column("tenant", sa.Column("quota_bytes", sa.BigInteger(), nullable=True))
    op.add_column("upload", sa.Column("url", sa.Text(), nullable=True))
    op.add_column("upload", sa.Column("job", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("upload", sa.Column("job_id", sa.Text(), nullable=True))
    op.add_column("upload", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("upload", sa.Column("next_at", sa.DateTime(timezone=True), nullable=True))
    for name, table, columns, how in _INDICES:
        op.create_index(name, table, columns, unique=False, **how)


def downgrade() -> None:
    """Drop them, and uploads by URL with them: without its URL, nobody can fetch one."""
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute("DELETE FROM upload WHERE method = 'url'")
    for name, table, _, how in reversed(_INDICES):
        op.drop_index(name, table_name=table, **how)
    for column in ("next_at", "attempts", "job_id", "job", "url"):
        op.drop_column("upload", column)
    op.drop_column("tenant", "quota_bytes")

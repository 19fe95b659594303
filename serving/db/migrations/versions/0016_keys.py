"""Keys that objects are sealed with; row-level security as in 0015."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLES = ("tenant_key", "data_key")

_POLICY = """
CREATE POLICY tenant ON {table} USING (
    tenant_id = (SELECT current_setting('app.tenant', true)) OR (SELECT current_setting('app.tenant', true)) = '*'
)
"""


def upgrade() -> None:
    """Make both tables. Objects that are there have no key: `automations keys seal` gives them one."""
    op.create_table(
        "tenant_key",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "version"),
    )
    op.create_table(
        "data_key",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("tenant_version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("video_id", sa.Text(), nullable=True),
        sa.Column("upload_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["tenant_id", "tenant_version"], ["tenant_key.tenant_id", "tenant_key.version"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("object_key"),
    )
    op.create_index("ix_data_key_tenant", "data_key", ["tenant_id", "tenant_version"])
    op.create_index("ix_data_key_video", "data_key", ["video_id"])
    op.create_index("ix_data_key_upload", "data_key", ["upload_id"])
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(_POLICY.format(table=table))


def downgrade() -> None:
    """Drop both. What was sealed by then is unreadable: the version before knows nothing of it."""
    op.drop_table("data_key")
    op.drop_table("tenant_key")

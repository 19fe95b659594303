"""Keys that objects are sealed with; row-level security as in 0015."""

import sqlalchemy as sa
from alembic import op

from serving.errors import Conflict

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
    """Drop both, where nothing is sealed: whatever is would be unreadable for good. Raises Conflict."""
    # Whoever adds one now waits, and fails.
    op.execute("LOCK TABLE data_key")
    # Without it, the policy shows none, until this transaction ends.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    if op.get_bind().execute(sa.text("SELECT EXISTS (SELECT FROM data_key)")).scalar_one():
        raise Conflict(
            "objects are sealed with keys that only these tables have, and would be unreadable for good; the schema "
            "cannot be taken back behind 0016 until all videos and uploads are deleted"
        )
    op.drop_table("data_key")
    op.drop_table("tenant_key")

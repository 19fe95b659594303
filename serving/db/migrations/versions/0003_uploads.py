"""Uploads that come in pieces, and the pieces; row-level security as in the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_POLICY = """
CREATE POLICY tenant ON {table}
    USING (tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')
"""


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "upload",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("tus_metadata", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("video_id", sa.Text(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_upload_expires", "upload", ["expires_at"], unique=False, postgresql_where="status = 'waiting'")
    op.create_index("ix_upload_tenant_created", "upload", ["tenant_id", "created_at", "id"], unique=False)
    op.create_index("ix_upload_video", "upload", ["video_id"], unique=False)
    op.create_table(
        "upload_part",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("upload_id", "offset_bytes"),
    )
    op.create_index("ix_upload_part_object_key", "upload_part", ["object_key"], unique=True)
    op.create_index("ix_video_object_key", "video", ["object_key"], unique=False)
    for table in ("upload", "upload_part"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        # For the tables' owner too, who is whom the server connects as.
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(_POLICY.format(table=table))


def downgrade() -> None:
    """Drop both, and all that is in them; objects of pieces are swept."""
    op.drop_index("ix_video_object_key", table_name="video")
    op.drop_index("ix_upload_part_object_key", table_name="upload_part")
    op.drop_table("upload_part")
    op.drop_index("ix_upload_video", table_name="upload")
    op.drop_index("ix_upload_tenant_created", table_name="upload")
    op.drop_index("ix_upload_expires", table_name="upload", postgresql_where="status = 'waiting'")
    op.drop_table("upload")

"""Bytes of renditions, which count against the quota, and how often something but the video was the matter."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that there are count from now on."""
    op.add_column("rendition", sa.Column("faults", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_rendition_size", "rendition", ["tenant_id"], unique=False, postgresql_include=["size_bytes"])


def downgrade() -> None:
    """They no longer count."""
    op.drop_index("ix_rendition_size", table_name="rendition")
    op.drop_column("rendition", "faults")

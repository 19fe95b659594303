"""What videos came with in archives counts for the quota, as their bytes do."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is known of those that came before: 0."""
    op.add_column("video", sa.Column("imported_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    _index("size_bytes", "duration_s", "imported_bytes")


def downgrade() -> None:
    """It counts no more."""
    _index("size_bytes", "duration_s")
    op.drop_column("video", "imported_bytes")


def _index(*summed: str) -> None:
    op.drop_index("ix_video_size", "video")
    op.create_index("ix_video_size", "video", ["tenant_id"], postgresql_include=list(summed))

"""How many minutes of video a tenant may keep, and what adds them up."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.add_column("tenant", sa.Column("quota_minutes", sa.BigInteger(), nullable=True))
    _index(["size_bytes", "duration_s"])


def downgrade() -> None:
    """Drop them."""
    _index(["size_bytes"])
    op.drop_column("tenant", "quota_minutes")


def _index(added_up: list[str]) -> None:
    """One index has all that is added up for a tenant."""
    op.drop_index("ix_video_size", table_name="video")
    op.create_index("ix_video_size", "video", ["tenant_id"], unique=False, postgresql_include=added_up)

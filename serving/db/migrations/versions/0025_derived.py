"""What is made of videos and costs to make anew, with row-level security as in 0016."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_POLICY = """
CREATE POLICY tenant ON derived USING (
    tenant_id = (SELECT current_setting('app.tenant', true)) OR (SELECT current_setting('app.tenant', true)) = '*'
)
"""


def upgrade() -> None:
    """Nothing was kept so far."""
    op.create_table(
        "derived",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "object_key", "name"),
    )
    # It is compressed and sealed: to compress it again would take time for nothing.
    op.execute("ALTER TABLE derived ALTER COLUMN sealed SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE derived ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE derived FORCE ROW LEVEL SECURITY")
    op.execute(_POLICY)


def downgrade() -> None:
    """All of it is made anew when it is asked for."""
    op.drop_table("derived")

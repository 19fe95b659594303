"""Reports, checkpoints, questions, and secrets of webhooks and uploads are sealed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from serving.errors import Conflict

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_SEALED = sa.text(
    """
    SELECT EXISTS (SELECT FROM report WHERE sealed) OR EXISTS (SELECT FROM webhook_endpoint WHERE sealed IS NOT NULL)
        OR EXISTS (SELECT FROM upload WHERE sealed IS NOT NULL)
    """
)


def upgrade() -> None:
    """Make room for what is sealed. Rows that are there stay as they are until `automations keys seal`; checkpoints are
    computed again, and questions asked again."""
    op.add_column("report", sa.Column("sealed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute("TRUNCATE checkpoint, question")
    op.add_column("checkpoint", sa.Column("video_id", sa.Text(), nullable=False))
    op.create_foreign_key("checkpoint_video_id_fkey", "checkpoint", "video", ["video_id"], ["id"], ondelete="CASCADE")
    op.create_index("ix_checkpoint_video", "checkpoint", ["video_id"])
    op.drop_column("question", "texts")
    op.drop_column("question", "picture")
    op.add_column("question", sa.Column("asked", sa.LargeBinary(), nullable=False))
    for table in ("webhook_endpoint", "upload"):
        op.add_column(table, sa.Column("sealed", sa.LargeBinary(), nullable=True))
    for column in ("url", "secret"):
        op.alter_column("webhook_endpoint", column, nullable=True)


def downgrade() -> None:
    """Take it back, where nothing is sealed: whatever is would not be readable any more. Raises Conflict."""
    # Whoever seals something now waits, and fails.
    op.execute("LOCK TABLE report, webhook_endpoint, upload")
    # Without it, the policies show none, until this transaction ends.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    if op.get_bind().execute(_SEALED).scalar_one():
        raise Conflict(
            "reports or secrets are sealed, which a schema from before does not know; it cannot be taken back behind "
            "0019 until all reports, webhooks and uploads are deleted"
        )
    for column in ("url", "secret"):
        op.alter_column("webhook_endpoint", column, nullable=False)
    for table in ("webhook_endpoint", "upload", "report"):
        op.drop_column(table, "sealed")
    op.execute("TRUNCATE checkpoint, question")
    op.drop_column("question", "asked")
    op.add_column("question", sa.Column("picture", sa.LargeBinary(), nullable=True))
    op.add_column("question", sa.Column("texts", JSONB(), nullable=False))
    op.drop_column("checkpoint", "video_id")

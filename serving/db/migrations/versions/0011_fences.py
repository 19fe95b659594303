"""A fence for uploads by URL, and one job of the same features at a time."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

#: Of those that run at the same time all the same, the first one goes on; the others find that they are not theirs.
_GIVEN_BACK = """
UPDATE job SET state = 'queued', fence = fence + 1, attempt = attempt - 1, worker = NULL, lease_until = NULL,
    run_after = now()
WHERE state = 'running' AND EXISTS (
    SELECT FROM job first
    WHERE first.tenant_id = job.tenant_id AND first.feature_key = job.feature_key AND first.state = 'running'
        AND (first.started_at, first.id) < (job.started_at, job.id)
)
"""


def upgrade() -> None:
    """Make them."""
    op.add_column("upload", sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("SELECT set_config('app.tenant', '*', true)")
    # Who fetches one while this is done goes on with it under the number of its attempt.
    op.execute("UPDATE upload SET fence = attempts WHERE method = 'url'")
    op.execute(_GIVEN_BACK)
    op.create_index(
        "ix_job_running", "job", ["tenant_id", "feature_key"], unique=True, postgresql_where="state = 'running'"
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_job_running", "job")
    op.drop_column("upload", "fence")

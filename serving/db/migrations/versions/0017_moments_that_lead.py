"""Which moments lead others that look alike: graphs of moments are made anew, of those alone."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_GRAPHS = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname ~ '^hnsw_moment_[0-9a-f]{16}$'"


def upgrade() -> None:
    """Each moment that is there leads itself alone, as before."""
    op.add_column("moment", sa.Column("alike", sa.Integer(), server_default="1", nullable=False))
    for (graph,) in op.get_bind().execute(sa.text(_GRAPHS)).all():
        op.execute(f"DROP INDEX {graph}")


def downgrade() -> None:
    """Graphs that were made by the column go with it."""
    op.drop_column("moment", "alike")

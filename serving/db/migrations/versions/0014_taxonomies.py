"""Nothing yet."""

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""


def downgrade() -> None:
    """Take it back."""

"""Nothing yet."""

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""


def downgrade() -> None:
    """Take it back."""

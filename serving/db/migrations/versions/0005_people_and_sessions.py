"""People who sign in, their sessions and refresh tokens; row-level security as in the first schema."""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Drop them, and all that is in them."""

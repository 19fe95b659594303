"""What lists of videos are sorted and filtered by; row-level security as in the first schema."""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Drop them, and all that is in them."""

"""Uploads that a worker fetches from a URL, and what a tenant may keep; row-level security as in the first schema."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Drop them, and all that is in them."""

"""Vocabularies of tenants, and workers that say how they are; row-level security as in the first schema."""

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Drop them, and all that is in them."""

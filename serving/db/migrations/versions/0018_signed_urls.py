"""Signed URLs: how often those of a video, and of a tenant, were revoked; and what serving media has to know, read in
one round trip (as in 0010)."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TABLES = ("video", "tenant")

_MEDIA = """
CREATE FUNCTION tenant_media(of_tenant text, of_ids text[]) RETURNS TABLE (
    id text, tenant_id text, object_key text, size_bytes bigint, sha256 text, filename text, container text,
    codec text, duration_s double precision, updated_at timestamptz, created_at timestamptz,
    url_generation integer, tenant_url_generation integer,
    key_version integer, key_wrapped bytea, tenant_key_wrapped bytea, tenant_key_master text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- For this statement's transaction only, as `Database.read` does it.
    PERFORM set_config('app.tenant', of_tenant, true);
    RETURN QUERY
    SELECT v.id, v.tenant_id, v.object_key, v.size_bytes, v.sha256, v.filename, v.container,
        v.codec, v.duration_s, v.updated_at, v.created_at,
        v.url_generation, t.url_generation,
        k.tenant_version, k.wrapped, b.wrapped, b.master
    FROM (SELECT * FROM video WHERE tenant_id = of_tenant AND id = ANY(of_ids)) AS v
    JOIN tenant AS t ON t.id = v.tenant_id
    LEFT JOIN data_key AS k ON k.object_key = v.object_key
    LEFT JOIN tenant_key AS b ON (b.tenant_id, b.version) = (k.tenant_id, k.tenant_version);
END
$$
"""


def upgrade() -> None:
    """Nothing was revoked so far."""
    for table in _TABLES:
        op.add_column(table, sa.Column("url_generation", sa.Integer(), server_default="0", nullable=False))
    op.execute(_MEDIA)


def downgrade() -> None:
    """URLs that are out there are not known any more, and so not good."""
    op.execute("DROP FUNCTION tenant_media(text, text[])")
    for table in _TABLES:
        op.drop_column(table, "url_generation")

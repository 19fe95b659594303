"""Reports as they are kept: as JSON, compressed, and sealed by the key of their video. Whoever reads or writes one does
so here."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, func, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import Altered, InputNotFound
from pipeline.report import Report
from serving.db.keys import DataKey, TenantKey
from serving.db.media import StoredReport
from serving.storage.keyring import Keyring, values_at
from serving.storage.values import Values

_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report that was read, and opened."""

    job_id: str
    body: bytes
    """As JSON, compressed by zlib."""

    def json(self) -> bytes:
        """The report as JSON. Raises Altered where it is none, which was never sealed."""
        try:
            return zlib.decompress(self.body)
        except zlib.error:
            raise self._none() from None

    def _none(self) -> Altered:
        return Altered(f"the report of {self.job_id} is not what was kept")

    def pieces(self) -> Iterator[bytes]:
        """The same in pieces of a MiB: however large it is, no more of it is in memory. Raises Altered."""
        inflating, rest = zlib.decompressobj(), self.body
        try:
            while piece := inflating.decompress(rest, _PIECE_BYTES):
                yield piece
                rest = inflating.unconsumed_tail
        except zlib.error:
            raise self._none() from None
        if not inflating.eof:
            raise self._none()

    def report(self) -> Report:
        """The report; takes milliseconds. Raises Altered, and msgspec.DecodeError where it is of another version."""
        return msgspec.json.decode(self.json(), type=Report)


async def keep(
    session: AsyncSession,
    keyring: Keyring,
    tenant: str,
    job_id: str,
    video_id: str,
    feature_key: str,
    body: bytes,
    *,
    created_at: datetime | None = None,
) -> None:
    """Keep the report of a job. Raises as `Keyring.values_to_seal`.

    Args:
        body: see `compressed`.
        created_at: None: now.
    """
    values = await keyring.values_to_seal(session, tenant, video_id)
    report = StoredReport(
        job_id=job_id,
        tenant_id=tenant,
        video_id=video_id,
        feature_key=feature_key,
        body=values.seal("report.body", job_id, body),
        sealed=True,
    )
    if created_at is not None:
        report.created_at = created_at
    session.add(report)


async def latest(session: AsyncSession, keyring: Keyring, tenant: str, video_id: str) -> KeptReport | None:
    """The latest report of a video, which its resources show; None where it has none.

    Raises:
        InputNotFound: the key of the video was destroyed.
        MasterKeyMissing, Altered: see `Keyring.tenant_key`, `Values.open`.
    """
    return await _read(session, keyring, _query(tenant, col(StoredReport.video_id) == video_id))


async def of_video(session: AsyncSession, tenant: str, video_id: str) -> list[tuple[str, datetime, int]]:
    """All reports of a video: of which job each is, when it was made, and bytes as it is kept; earliest first."""
    of_it = (col(StoredReport.tenant_id) == tenant) & (col(StoredReport.video_id) == video_id)
    size = func.octet_length(StoredReport.body)
    made = select(col(StoredReport.job_id), col(StoredReport.created_at), size).where(of_it)
    rows = (await session.execute(made.order_by(col(StoredReport.created_at)))).all()
    return [(job_id, at, kept_bytes) for job_id, at, kept_bytes in rows]


async def of_job(session: AsyncSession, keyring: Keyring, tenant: str, job_id: str) -> KeptReport | None:
    """The report of a job; None where it has none. Raises as `latest`."""
    return await _read(session, keyring, _query(tenant, col(StoredReport.job_id) == job_id))


async def alike(session: AsyncSession, keyring: Keyring, tenant: str, feature_key: str) -> KeptReport | None:
    """The latest report with these features, of whichever video; None where there is none. Raises as `latest`."""
    return await _read(session, keyring, _query(tenant, col(StoredReport.feature_key) == feature_key))


def compressed(report: Report) -> bytes:
    """As it is kept before it is sealed; takes milliseconds."""
    return zlib.compress(msgspec.json.encode(report), 3)


def _query(tenant: str, which: ColumnElement[bool]) -> Select[Any]:
    """The latest of those, with its key: one round trip."""
    # In the words of `values_at`, which PostgreSQL has to find the row by.
    name = values_at(tenant, "") + col(StoredReport.video_id)
    key = (col(DataKey.object_key) == name) & (col(DataKey.tenant_id) == tenant)
    by = (col(TenantKey.tenant_id) == tenant) & (col(TenantKey.version) == col(DataKey.tenant_version))
    row = (StoredReport.job_id, StoredReport.video_id, StoredReport.body, StoredReport.sealed)
    found = select(*row, DataKey, TenantKey).select_from(StoredReport)  # type: ignore[call-overload]
    found = found.outerjoin(DataKey, key).outerjoin(TenantKey, by)
    return (
        found.where(col(StoredReport.tenant_id) == tenant, which).order_by(col(StoredReport.created_at).desc()).limit(1)
    )


async def _read(session: AsyncSession, keyring: Keyring, query: Select[Any]) -> KeptReport | None:
    await session.flush()
    row = (await session.exec(query)).one_or_none()  # type: ignore[call-overload]
    if row is None:
        return None
    if not row.sealed:
        return KeptReport(row.job_id, row.body)
    if row.DataKey is None or row.TenantKey is None:
        raise InputNotFound(f"the key of {row.video_id} was destroyed, with the video")
    values = Values(row.DataKey.tenant_id, await keyring.unwrap(row.DataKey, row.TenantKey))
    return KeptReport(row.job_id, values.open("report.body", row.job_id, row.body))

"""From the name of a vocabulary to the labels that a job is made with."""

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.spec import AnalysisSpec, Label
from serving.errors import NotFound
from serving.requests import JobAfter, JobRequest
from serving.vocabularies import builtin, rows


async def resolved(session: AsyncSession, tenant: str, request: JobRequest | JobAfter) -> AnalysisSpec:
    """The spec of a job with the labels that its vocabulary has now: whatever becomes of that, the job keeps them.

    Raises:
        NotFound: there is no such vocabulary.
    """
    if request.vocabulary is None:
        return request.spec
    known = builtin.all_of_them().get(request.vocabulary)
    if known is not None:
        return msgspec.structs.replace(request.spec, labels=known.labels)
    try:
        row = await rows.find(session, tenant, request.vocabulary)
    except NotFound as error:
        raise NotFound(f"there is no vocabulary {request.vocabulary}") from error
    return msgspec.structs.replace(request.spec, labels=msgspec.convert(row.labels, tuple[Label, ...]))

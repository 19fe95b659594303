"""Jobs that are asked for together."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import Parameter

from serving.api.access import needs
from serving.api.job_records import BatchId
from serving.auth.principals import Principal
from serving.db.database import Database
from serving.jobs import batches
from serving.jobs.batches import Batch, BatchRequest


class Batches(Controller):
    """`/v1/jobs/batch`"""

    path = "/v1/jobs/batch"
    tags = ("jobs",)

    @post(operation_id="submit_jobs", **needs("jobs:write"), status_code=202, summary="Queue several")
    async def submit(
        self,
        principal: Principal,
        database: Database,
        data: BatchRequest,
        idempotency_key: Annotated[
            str | None, Parameter(header="Idempotency-Key", min_length=1, max_length=255, required=False)
        ] = None,
    ) -> Batch:
        """Queue several analyses; all, or none where one of them cannot be. With `Idempotency-Key`, sending it again
        finds the batch that there is, with its counts as they are by then."""
        return await batches.submit(database, principal.tenant_id, data, key=idempotency_key)

    @get("/{batch_id:str}", operation_id="get_batch", **needs("jobs:read"), summary="Count the jobs of a batch")
    async def one(self, principal: Principal, database: Database, batch_id: BatchId) -> Batch:
        """How many jobs of a batch are in which state. `/v1/jobs?batch_id=` lists them."""
        return await batches.count(database, principal.tenant_id, batch_id)

    @post(
        "/{batch_id:str}/cancel",
        operation_id="cancel_batch",
        **needs("jobs:write"),
        status_code=202,
        summary="Stop all jobs of a batch",
    )
    async def cancel(self, principal: Principal, database: Database, batch_id: BatchId) -> Batch:
        """Have all jobs of a batch stopped: at once those that wait, soon those that run. Those that are over stay."""
        return await batches.cancel(database, principal.tenant_id, batch_id)

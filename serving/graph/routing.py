"""Which replica of an engine gets a request: the less busy of two, unless the request belongs to one of them.

Parts of a chain share a decoder (`pipeline.clips.Clip.chain`), and a decoder lives in one replica. So whoever sends a
later part says which replica had the first one, and it goes there or, where that replica is gone, to any other, which
says that it does not know the chain. The same way a request for models that are being replaced goes to a replica that
still has them.
"""

from ray.serve._private.common import RequestMetadata
from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.request_router import PendingRequest, RunningReplica


class PinnedRouter(PowerOfTwoChoicesRequestRouter):
    """Sends a request whose `session_id` is a replica's id to that replica."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """See `RequestRouter.choose_replicas`: asked again and again until one of those it gives takes the request."""
        pinned = "" if pending_request is None else pending_request.metadata.session_id
        if pending_request is not None and pinned:
            mine = [replica for replica in candidate_replicas if replica.replica_id.unique_id == pinned]
            if mine:
                # One that is full is asked again after a while.
                pending_request.routing_context.should_backoff = True
                return [mine]
        return await super().choose_replicas(candidate_replicas, pending_request)

    def _fulfill_next_pending_request(
        self, replica: RunningReplica, request_metadata: RequestMetadata | None = None
    ) -> None:
        """Give the replica to the request that it was chosen for. The class above gives it to whichever request waits
        for longest, which may be pinned to another one."""
        for pending in self._pending_requests_to_fulfill:
            if pending.metadata is request_metadata and not pending.future.done():
                self._record_queue_wait_time(pending)
                pending.future.set_result(replica)
                self._remove_pending_request_from_indices(pending)
                return

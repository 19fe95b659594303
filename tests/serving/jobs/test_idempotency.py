"""Keys of requests that are tidied up in the midst of a request."""

from sqlalchemy import text

from serving import idempotency
from serving.db.database import SYSTEM
from serving.db.statements import execute
from serving.jobs import submission
from serving.jobs.submission import JobRequest


def test_a_key_that_is_tidied_up_while_it_is_looked_up_is_new(run, monkeypatch):
    async def body(world):
        request = [JobRequest(video_id="vid_a")]
        (first,) = await submission.submit(world.database, "a", request, key="same")
        tidied = 0

        async def interrupted(session, statement, **values):
            """As `execute`; then, the first time, the cleaner comes by."""
            nonlocal tidied
            found = await execute(session, statement, **values)
            if not tidied:
                async with world.database.write("clean.old", SYSTEM) as other:
                    tidied = (await execute(other, text("DELETE FROM idempotency_key"))).rowcount
            return found

        monkeypatch.setattr(idempotency, "execute", interrupted)
        (second,) = await submission.submit(world.database, "a", request, key="same")
        assert tidied == 1
        assert second.created
        assert second.job.id != first.job.id
        (third,) = await submission.submit(world.database, "a", request, key="same")
        assert (third.created, third.job.id) == (False, second.job.id)

    run(body)

"""Workers that tag, and may be made to die at any durable write.

    python -m tests.serving.tagging.dying

Reads lines `URL POINT` from stdin, forks for each, and prints how the fork ended: it tags and learns until there is
nothing left to do. What takes long to import is imported and loaded once; nothing before the fork makes threads.
"""

import asyncio
import os
import sys
import traceback

from serving.db import failpoints
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.tagging import learning, retagging
from serving.tagging.learner import Learner
from serving.tagging.tagger import Tagger, text
from tests.serving.jobs.crashing import loaded

__all__ = ["learning"]

_OPEN = text(
    "SELECT (SELECT count(*) FROM untagged) + (SELECT count(*) FROM tagging WHERE state IN ('queued', 'running')) "
    "+ (SELECT count(*) FROM learning WHERE state IN ('due', 'running'))"
)


class TextsOnly:
    """The bundled model, which reads texts here and nothing else."""

    def __init__(self, encoder) -> None:
        self.encoder = encoder

    async def get(self, model: str, also: object = ()):
        """See `Toolkits.get`."""
        return self


async def work(url: str, encoder) -> None:
    """Until there is nothing left to do."""
    # Many pages of a small library, and leases that end soon.
    retagging.PAGE_VIDEOS = 5
    database, toolkits = Database(url), TextsOnly(encoder)
    tagger = Tagger(database, toolkits, lease_s=1.0, learner=Learner(database, toolkits, quiet_s=0.0, lease_s=1.0))
    while True:
        if not await tagger.step():
            async with database.read(SYSTEM) as session:
                if not (await execute(session, _OPEN)).scalar_one():
                    break
            await asyncio.sleep(0.1)
    await database.close()


def main() -> None:
    """Serve until stdin ends."""
    encoder = loaded()
    for line in sys.stdin:
        url, _, point = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if point:
                    os.environ[failpoints.VARIABLE] = point
                asyncio.run(work(url, encoder))
                code = 0
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
